"""What a scorer refuses, in a sentence, and which folders it does not load."""

import numpy as np
import pytest

from recbole_nif.errors import UserError
from recbole_nif.inference import Scorer
from tests.toy_runs import toy_run
from tests.unit.scorer.toy_requests import ITEMS, events


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda s: s.score("a", "m1"), "items is the text 'm1'"),
        (lambda s: s.score("a", ["m1"], at=float("nan")), "at is nan: give a finite number"),
        (lambda s: s.score("a", ["m1"], at="noon"), "at is 'noon'"),
        (lambda s: s.score("a", ["m1"], at=10**400), "give a finite number"),
        (lambda s: s.score("a", ["m1"], user_features={"height": 1}), "user_features names 'height'"),
        (lambda s: s.score("a", ["m1"], context={"page": 1}), "context names 'page'"),
        (lambda s: s.score("a", ["m1"], history=3), "A int is no table"),
        (lambda s: s.score("a", ["m1"], history=[1, 2]), "no column 'item_id'"),
        (lambda s: s.score("a", ["m1"], history=[{"item_id": "m1"}]), "no column 'timestamp'"),
        (
            lambda s: s.score("a", ["m1"], history=[{"item_id": "m1", "timestamp": 1}]),
            "no column 'label' or 'rating'",
        ),
        (lambda s: s.score("a", ["m1"], history=events(("m1", 5, None))), "Row 1: timestamp is missing"),
        (lambda s: s.score("a", ["m1"], history=events(("m1", 5, "x"))), "Row 1: timestamp is 'x'"),
        (
            lambda s: s.score("a", ["m1"], history=events(("m1", 5, 1), ("m1", 5, np.inf))),
            "Row 2: timestamp is inf",
        ),
        (lambda s: s.score("a", ["m1"], history=events(("m1", None, 1))), "Row 1: rating is missing"),
        (
            lambda s: s.score("a", ["m1"], history=[{"item_id": "m1", "timestamp": 1, "label": 2}]),
            "Row 1: label is 2: give 0 or 1",
        ),
        (
            lambda s: s.score("a", ["m1"], history=events(("m1", 5, 1), ("m1", 5, 2**64 - 1))),
            "Row 2: timestamp is 18446744073709551615: give a number below 2**63",
        ),
        (
            lambda s: s.score(
                "a", ["m1"], history=[{"item_id": "m1", "rating": r, "timestamp": 1} for r in (5, 10**400)]
            ),
            "Row 2: rating is 1000",
        ),
        (lambda s: s.score_pairs([{"user_id": "a"}]), "no column 'item_id'"),
        (lambda s: s.score_pairs([{"user_id": "a", "item_id": None}]), "Row 1: item_id is missing"),
        (
            lambda s: s.score_pairs([{"user_id": "a", "item_id": "m1", "timestamp": float("nan")}]),
            "Row 1: timestamp is missing",
        ),
        (lambda s: s.topk("a", 0), "k is 0: give at least 1"),
        (lambda s: s.explain("a", "m99"), "Item 'm99' is unknown"),
        (lambda s: s.update("a", events(("m1", 5, 5))), "is earlier than the user's last one"),
        (lambda s: s.update(None, events(("m1", 5, 5))), "have no user"),
        (lambda s: s.add_items([{"genre": "Drama"}]), "no column 'item_id'"),
    ],
)
def test_a_mistake_is_told_in_a_sentence_and_changes_nothing(scorer, ask, words):
    scorer = scorer()
    before = scorer.score("a", ITEMS)
    with pytest.raises(UserError) as told:
        ask(scorer)
    assert words in str(told.value) and "\n" not in str(told.value)
    assert np.array_equal(scorer.score("a", ITEMS), before)


@pytest.mark.parametrize("missing", ["checkpoints/finetune-best.pt", "data"])
def test_a_folder_that_is_no_whole_run_is_refused(tmp_path, missing):
    run = toy_run(tmp_path)
    if missing == "data":
        (tmp_path / "toy" / "toy.inter").unlink()
    else:
        (run / missing).unlink()
    with pytest.raises(UserError):
        Scorer.load(run)


def test_a_run_of_an_older_version_has_todays_defaults_for_keys_it_does_not_know(tmp_path):
    from recbole_nif.trainer import checkpoint

    run = toy_run(tmp_path)
    before = Scorer.load(run, device="cpu").score("a", ITEMS)
    path = run / "checkpoints" / "finetune-best.pt"
    payload = checkpoint.load(path)
    for key in ("gauc_weight", "flow_cache", "text_encoder", "cross_layers"):
        payload["config"].pop(key, None)
    checkpoint.save(path, payload)
    assert np.array_equal(Scorer.load(run, device="cpu").score("a", ITEMS), before)
    payload["state_dict"].pop(next(iter(payload["state_dict"])))
    checkpoint.save(path, payload)
    with pytest.raises(UserError, match="does not fit the NIFDIN"):
        Scorer.load(run)
