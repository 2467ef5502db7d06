"""What belongs to an impression: context features, numbers, scenes and behaviors of events."""

import numpy as np
import pandas
import pytest
import torch

from recbole_nif.data.dataset import CTRDataset
from recbole_nif.errors import UserError
from recbole_nif.inference import Scorer
from tests.toy import ROWS, save_run, toy_config, write_toy
from tests.toy_runs import OF_MODEL, SMALL

RNG = np.random.default_rng(0)
FRAME = pandas.DataFrame(ROWS, columns=["user_id", "item_id", "rating", "timestamp"]).assign(
    page=RNG.choice(["home", "search", "cart"], len(ROWS)),
    kind=RNG.choice(["view", "buy"], len(ROWS)),
    tags=[" ".join(RNG.choice(list("xyz"), n, replace=False)) for n in RNG.integers(1, 4, len(ROWS))],
    price=RNG.integers(1, 50, len(ROWS)) / 2,
)
TYPES = {"rating": "float", "timestamp": "float", "price": "float", "tags": "token_seq"}


def make(folder, model, **settings):
    """A scorer of a model with random weights on FRAME, and what the model itself says of all rows."""
    write_toy(folder)
    header = "\t".join(f"{name}:{TYPES.get(name, 'token')}" for name in FRAME)
    lines = ["\t".join(map(str, row)) for row in FRAME.itertuples(index=False)]
    (folder / "toy" / "toy.inter").write_text("\n".join([header, *lines]) + "\n")
    load_col = {"inter": list(FRAME), "user": ["user_id", "age"], "item": ["item_id", "genre"]}
    given = SMALL | OF_MODEL.get(model, {}) | {"load_col": load_col, "flow_cache": "none"} | settings
    config = toy_config(folder, model, **given)
    views = CTRDataset(config).build()
    torch.manual_seed(0)
    network = config.model_class(config, views[0]).eval()
    with torch.no_grad():
        expected = network.predict(views[0].read(torch.arange(len(FRAME)))).numpy()
    return Scorer.load(save_run(folder / "run", config, network), device="cpu"), expected


NUMBERS = {"numerical_features": ["price"], "normalize_all": True}
CASES = {
    "a token as scene": ("AMEN", {"scene_field": "page", "scene_mode": "token"}),
    "a set as scene": ("AMEN", {"scene_field": "tags", "scene_mode": "token_seq"}),
    "two tokens as scene": ("AMEN", {"scene_field": ["page", "kind"], "scene_mode": "cross"}),
    "few buckets of scenes": ("AMEN", {"scene_field": "page", "scene_mode": "token", "scene_hash_size": 2}),
    "a token of users as scene": ("AMEN", {"scene_field": "age", "scene_mode": "token"}),
    "one scene": ("AMEN", {"scene_field": None, "scene_mode": None}),
    "behaviors": ("AMEN", {"behavior_field": "kind"}),
    "scenes of clicks": ("NIFDIN", {"scene_field": "page", "scene_mode": "token", "history_scene": True}),
    "scaled numbers": ("DeepFM", NUMBERS),
    "numbers in buckets": ("NIFDIN", NUMBERS | {"discretization": {"price": {"method": "ED", "bucket": 4}}}),
    "a time as feature": ("DeepFM", {"numerical_features": ["timestamp"], "normalize_all": True}),
}


@pytest.fixture(params=list(CASES))
def case(request, tmp_path):
    model, settings = CASES[request.param]
    return make(tmp_path, model, **settings)


def test_rows_with_their_contexts_score_as_the_model_itself_says(case):
    scorer, expected = case
    assert np.abs(scorer.score_pairs(FRAME) - expected).max() < 1e-6
    assert np.unique(expected.round(6)).size > 10


def test_histories_with_their_contexts_are_those_of_the_log(case):
    scorer, expected = case
    for place in (5, 9, 15, 19):
        row = FRAME.iloc[place]
        context = {name: row[name] for name in ("page", "kind", "tags", "price")}
        own = FRAME[FRAME.user_id == row.user_id]
        scores = [
            scorer.score(row.user_id, [row.item_id], at=row.timestamp, context=context)[0],
            scorer.score(row.user_id, [row.item_id], at=row.timestamp, context=context, history=own)[0],
        ]
        assert np.abs(scores - expected[place]).max() < 1e-6


def test_what_is_not_given_is_padding_or_the_mean(tmp_path):
    scorer, _ = make(tmp_path, "DeepFM", **NUMBERS)
    nothing = scorer.score("a", ["m1"])
    unknown = {"page": "moon", "kind": None, "tags": "", "price": FRAME.price.mean()}
    assert np.abs(scorer.score("a", ["m1"], context=unknown) - nothing).max() < 1e-6
    assert np.abs(scorer.score("a", ["m1"], context={"price": 40.0}) - nothing).max() > 1e-6
    each = scorer.score("a", ["m1", "m1"], context={"page": ["home", "moon"]})
    assert abs(each[0] - each[1]) > 1e-6 and abs(each[1] - nothing[0]) < 1e-6


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"price": "cheap"}, "Row 1: price is 'cheap': give a finite number"),
        ({"page": ["home"] * 3}, "context gives 3 values of page for 2 items"),
        ({"color": "red"}, "context names 'color', which is no column of impressions"),
    ],
)
def test_a_wrong_context_is_told_in_a_sentence(tmp_path, context, words):
    scorer, _ = make(tmp_path, "DeepFM", **NUMBERS)
    with pytest.raises(UserError, match=words):
        scorer.score("a", ["m1", "m2"], context=context)


def test_a_wrong_number_of_a_new_item_is_told_by_its_row_in_the_whole_table(tmp_path):
    write_toy(tmp_path)
    lines = ["item_id:token\tyear:float", *(f"m{number}\t{1990 + number}" for number in range(1, 11))]
    (tmp_path / "toy" / "toy.item").write_text("\n".join(lines) + "\n")
    load_col = {"inter": ["user_id", "item_id", "rating", "timestamp"], "item": ["item_id", "year"]}
    one_scene = {"scene_field": None, "scene_mode": None, "load_col": load_col}
    numbers = {"numerical_features": ["year"], "normalize_all": True}
    config = toy_config(tmp_path, "DeepFM", **SMALL, **one_scene, **numbers)
    views = CTRDataset(config).build()
    scorer = Scorer.load(save_run(tmp_path / "run", config, config.model_class(config, views[0])), "cpu")
    table = pandas.DataFrame({"item_id": ["m1", "x", "m2", "y"], "year": ["1990", "2001", "1991", "old"]})
    with pytest.raises(UserError, match="Row 4: year is 'old': give a finite number"):
        scorer.add_items(table)


def test_what_tells_the_kind_of_event_is_a_feature_of_no_model(tmp_path):
    """Also not of RecBole's, which take every column they are given: a purchase is known after the click."""
    other = FRAME.assign(kind=FRAME.kind.map({"view": "buy", "buy": "view"}))
    scorer, expected = make(tmp_path / "named", "DeepFM", behavior_field="kind")
    assert np.abs(scorer.score_pairs(other) - expected).max() < 1e-6
    scorer, expected = make(tmp_path / "not", "DeepFM")
    assert np.abs(scorer.score_pairs(other) - expected).min() > 1e-6
