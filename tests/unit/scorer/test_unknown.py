"""Users and items that a scorer does not know, and items that are added."""

import numpy as np
import pandas
import pytest
import torch

from recbole_nif.errors import UserError
from recbole_nif.inference import Scorer
from recbole_nif.inference.columns import as_cells
from recbole_nif.semantic_id.encoders import SentenceEncoder
from tests.toy_runs import OF_MODEL, toy_run
from tests.unit.scorer.toy_requests import ITEMS, LAST, MODELS, close, events


@pytest.mark.parametrize("model", MODELS)
def test_unknown_tokens_leave_the_other_rows_as_they_are(scorer, model):
    scorer = scorer(model)
    known = scorer.score("a", ITEMS)
    mixed = scorer.score("a", ["m99", *ITEMS[:5], "[PAD]", *ITEMS[5:], "never"])
    assert close(np.delete(mixed, [0, 6, 12]), known)
    assert close(mixed[[0, 6]], mixed[12]) and np.isfinite(mixed).all()
    stranger = scorer.score("nobody", ITEMS)
    pairs = pandas.DataFrame({"user_id": ["a", "nobody", "a"], "item_id": ["m1", "m2", "m98"]})
    assert close(scorer.score_pairs(pairs), [known[0], stranger[1], mixed[0]])
    assert close(stranger, scorer.score(None, ITEMS)) and not close(stranger, known)


def test_an_unknown_user_has_the_features_that_are_given(scorer):
    scorer = scorer("DeepFM")
    young, old = (scorer.score(items=ITEMS, user_features={"age": age}) for age in ("20", "21"))
    assert not close(young, old)
    unknown = scorer.score(items=ITEMS, user_features={"age": "99"})
    assert close(unknown, scorer.score(items=ITEMS))
    assert close(scorer.score("a", ITEMS, user_features={"age": 20}), scorer.score("a", ITEMS))


@pytest.mark.parametrize("model", ["NIFDIN", "NIFDIEN", "GenCI", "recbole.DIN"])
def test_an_unknown_item_in_a_history_is_as_if_it_were_not_there(scorer, model):
    scorer = scorer(model)
    clicks = events(("m1", 5, 10), ("m98", 5, 20), ("m3", 4, 30))
    known = scorer.score(items=ITEMS, history=clicks.iloc[[0, 2]])
    assert close(scorer.score(items=ITEMS, history=clicks), known)


def test_an_unknown_item_in_a_moveline_is_an_event_without_an_item(scorer):
    scorer = scorer("AMEN")
    clicks = events(("m1", 5, 10), ("m98", 5, 20), ("m3", 4, 30))
    other = clicks.replace("m98", "m97")
    assert close(scorer.score(items=ITEMS, history=clicks), scorer.score(items=ITEMS, history=other))
    assert not close(
        scorer.score(items=ITEMS, history=clicks), scorer.score(items=ITEMS, history=clicks.iloc[[0, 2]])
    )


@pytest.mark.parametrize("model", MODELS)
def test_added_items_have_their_features(scorer, model):
    scorer = scorer(model)
    before = scorer.score("a", ITEMS)
    unknown = scorer.score("a", ["x1"])[0]
    genres = ["Drama", "Comedy", ["Comedy", "Drama"], "Western", "Comedy"]
    new = pandas.DataFrame({"item_id": ["x1", "m1", "x2", "x3", "x1"], "genre": genres})
    assert scorer.add_items(new) == 3
    assert scorer.add_items(new) == 0
    scores = scorer.score("a", ["x1", "x2", "x3", "y"])
    assert close(scorer.score("a", ITEMS), before)
    assert close(scores[3], unknown)
    looks_up_by_id = model.startswith("recbole.")
    assert close(scores[0], scores[1]) == close(scores[0], unknown) == looks_up_by_id
    ranked = scorer.topk("a", 20, exclude_seen=False)
    assert {"x1", "x2", "x3"} < set(ranked.item)
    scorer.update("a", events(("x1", 5, LAST + 5), ("x2", 5, LAST + 6)))
    assert not {"x1", "x2"} & set(scorer.topk("a", 20).item)
    pairs = pandas.DataFrame({"user_id": "a", "item_id": ["m1", "x2"]})
    assert close(scorer.score_pairs(pairs), scorer.score("a", ["m1", "x2"]))
    if model in ("NIFDIN", "AMEN", "NIFDIEN"):
        assert not close(scorer.score("a", ITEMS), before)


def test_an_added_item_with_the_features_of_another_differs_by_the_id_only(scorer):
    scorer = scorer("NIFDIN")
    table = scorer.model.features.item.tables[0].weight
    table.requires_grad_(False)[1:] = table[1]  # all items have one id vector ...
    table[1:] = 0  # ... which is that of padding
    scorer.add_items([{"item_id": "x", "genre": "Drama"}])
    assert close(scorer.score("a", ["x"]), scorer.score("a", ["m3"]))


def test_the_cells_of_an_added_item_are_what_a_file_would_hold():
    cells = as_cells(["Heat", 1995.0, np.nan, None, ["Drama", "Comedy"], np.array([1, 2]), 2.5], " ")
    assert cells == ["Heat", "1995", "", "", "Drama Comedy", "1 2", "2.5"]


def cohorts_of(scorer, item):
    """Level, code, number of items, and whether the candidate is one of them."""
    return [row[:4] for row in scorer.explain("a", item, top=60).parts[-1].cells]


def test_an_added_item_with_a_text_gets_the_codes_of_its_like(tmp_path, monkeypatch):
    seen = []

    def by_text(self, texts):
        seen.extend(texts)
        return np.array([np.random.default_rng(list(text.encode())).normal(size=6) for text in texts], "f4")

    monkeypatch.setattr(SentenceEncoder, "encode", by_text)
    settings = {"text_encoder": "some/encoder", "item_text": "{genre:list}", "checkpoint_dir": str(tmp_path)}
    for model, also in (("GenCI", {}), ("AMEN", {"flow_targets": "semantic"})):
        folder = toy_run(tmp_path / model, model, **OF_MODEL["GenCI"] | OF_MODEL[model] | settings | also)
        scorer = Scorer.load(folder, device="cpu")
        before = scorer.score("a", ITEMS)
        cohorts = cohorts_of(scorer, "m2") if model == "GenCI" else None
        seen.clear()
        assert scorer.add_items([{"item_id": "w", "genre": ["Comedy", "Drama"]}]) == 1
        items = [{"item_id": "x", "genre": "Comedy Drama"}, {"item_id": "y", "genre": "  "}]
        assert scorer.add_items(items) == 2
        assert seen == ["Comedy, Drama"] * 2
        codes, (like,) = scorer.data.semantic_ids.codes, scorer.data.columns.ids("item_id", ["m2"])
        assert codes[-2, :-1].tolist() == codes[like, :-1].tolist()
        assert codes[-2].tolist() not in codes[:-2].tolist()
        assert codes[-1].tolist() == [-1] * codes.shape[1]
        if model == "GenCI":  # what it reads of cohorts is as trained, and a candidate's codes are its own
            assert cohorts_of(scorer, "m2") == cohorts == cohorts_of(scorer, "x")
        assert close(scorer.score("a", ITEMS), before)
        scorer.update("b", events(("x", 5, 1000000999)))
        assert np.isfinite(scorer.score("b", ["x", "y", "m1"])).all()


def test_a_model_with_a_table_by_item_of_its_own_refuses_items(folders):

    scorer = Scorer.load(folders("tests.unit.inner_product:InnerProduct"), device="cpu")
    scorer.model.bias = torch.nn.Embedding(scorer.data.n_items, 1)
    with pytest.raises(UserError, match="InnerProduct has a table by item, bias.weight"):
        scorer.add_items([{"item_id": "x"}])
    assert scorer.data.n_items == 11
