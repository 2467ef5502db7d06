"""Best items, generated candidates, equal scores and explanations of a scorer."""

import numpy as np
import pytest
import torch

from recbole_nif.errors import UserError
from recbole_nif.inference.viewers import viewer_of
from tests.unit.scorer.toy_requests import ITEMS, MODELS, close, events, of_user


@pytest.mark.parametrize("model", MODELS)
def test_the_best_items_are_those_of_a_search_through_all(scorer, model):
    scorer = scorer(model)
    for user in ("a", "c", "nobody"):
        seen = set(of_user(user).item_id)
        for k, exclude in ((3, False), (50, True)):
            items = [item for item in sorted(ITEMS, key=lambda m: scorer.data.columns.ids("item_id", [m])[0])
                     if not (exclude and item in seen)]  # fmt: skip
            scores = scorer.score(user, items) if items else np.zeros(0)
            order = sorted(range(len(items)), key=lambda place: (-scores[place], place))[:k]
            found = scorer.topk(user, k, exclude_seen=exclude)
            assert found.item.tolist() == [items[place] for place in order]
            assert close([0, *found.score], [0, *scores[order]])


@pytest.mark.parametrize("model", ["AMEN", "GenCI"])
def test_of_generated_candidates_the_nearest_are_ranked_by_their_scores(scorer, model):
    scorer = scorer(model)
    near = scorer.topk("b", k=10, generated=3, exclude_seen=False)
    assert 1 <= len(near) <= 3
    assert close(near["score"], scorer.score("b", near["item"].tolist()))
    batch = scorer.engine.view(viewer := _viewer(scorer, "b"), None).read(viewer.columns(scorer.data))
    with torch.no_grad():
        nearness = scorer.model.candidate_scores(batch)[0]
    ids = scorer.data.columns.ids("item_id", near["item"])
    others = np.setdiff1d(scorer.items(), ids)
    assert nearness[ids].min() >= nearness[others].max() and torch.isfinite(nearness[ids]).all()
    everything = scorer.topk("b", k=10, exclude_seen=False)
    assert set(near["item"]) <= set(everything["item"])
    assert len(scorer.topk("b", k=1, generated=3, candidates=["m1", "m2"])) <= 1


def test_where_nothing_known_is_generated_nothing_is_ranked(scorer, monkeypatch):
    scorer = scorer("GenCI")
    nowhere = torch.full((1, scorer.data.n_items), -torch.inf)
    monkeypatch.setattr(scorer.model, "candidate_scores", lambda batch: nowhere)
    assert scorer.topk("b", k=3, generated=5, exclude_seen=False).empty


def _viewer(scorer, user):
    return viewer_of(scorer.data, scorer.log, user, None, None)


@pytest.mark.parametrize("model", ["NIFDIN", "DeepFM"])
def test_a_model_that_generates_nothing_is_named(scorer, model):
    with pytest.raises(UserError, match=f"{model} generates no candidates: give a run of AMEN"):
        scorer(model).topk("b", generated=3)
    with pytest.raises(UserError, match="generated is 0: give at least 1"):
        scorer(model).topk("b", generated=0)


def test_equal_scores_are_ranked_in_the_order_of_items(scorer):
    scorer = scorer("NIFDIN")
    for parameter in scorer.model.parameters():
        parameter.requires_grad_(False).zero_()
    found = scorer.topk("c", 4, exclude_seen=False)
    assert found.item.tolist() == scorer.data.columns.tokens["item_id"][1:5].tolist()
    assert found.score.tolist() == [0.5] * 4
    assert scorer.topk("c", 2, candidates=["m9", "m2", "m77", "m9"]).item.tolist() == sorted(
        ["m9", "m2"], key=lambda m: scorer.data.columns.ids("item_id", [m])[0]
    )


def test_a_state_is_kept_for_the_time_since_the_last_event_too(scorer):
    """AMEN reads that time, so the same events an hour and a month ago are two states."""
    kept, fresh = scorer("AMEN"), scorer("AMEN", cache_size=0)
    times = [1000000000 + 3600, 1000000000 + 30 * 86400] * 2
    scores = [kept.score("b", ITEMS, at=time) for time in times]
    assert all(
        close(fresh.score("b", ITEMS, at=time), kept) for time, kept in zip(times, scores, strict=True)
    )
    assert not np.allclose(scores[0], scores[1], atol=1e-7, rtol=0)


def test_what_was_seen_is_so_as_of_the_time(scorer):
    scorer = scorer("NIFDIN")
    assert "m5" in set(scorer.topk("a", 10, at=1000000200).item)
    assert "m5" not in set(scorer.topk("a", 10, at=1000000201).item)
    assert scorer.topk("a", 10).empty


def test_an_explanation_is_that_of_the_command(scorer, folders, capsys):
    from recbole_nif import cli

    told = scorer("AMEN").explain("b", "m9", at=1000000580, top=60)
    assert cli.main(["explain", f"--run={folders('AMEN')}", "--user=b", "--item=m9", "--top=60"]) == 0
    shown = capsys.readouterr().out
    assert f"Score {told.score:.4f}." in shown
    for section in str(told).split("## ")[1:]:
        assert section.strip() in shown
    assert [part.title for part in told.parts][-1].startswith("Next interest flow")


def test_an_explanation_knows_updates_and_added_items(scorer):
    scorer = scorer("GenCI")
    scorer.add_items([{"item_id": "x", "genre": "Drama"}])
    scorer.update("b", events(("x", 5, 1000000999)))
    told = scorer.explain("b", "x", top=60)
    assert told.score == pytest.approx(scorer.score("b", ["x"])[0])
    assert told.parts[0].cells[-1][1] == "x"


def test_a_model_of_recbole_tells_a_score_only(scorer):
    told = scorer("DeepFM").explain("b", "m9")
    assert told.parts == () and "tells nothing" in str(told)
