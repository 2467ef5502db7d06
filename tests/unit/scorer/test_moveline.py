"""Events that are no samples, such as those of a shop around its ads, appended to what a run has seen."""

import numpy as np
import pytest
import torch

from recbole_nif.data.dataset import CTRDataset
from recbole_nif.errors import UserError
from recbole_nif.export.write import export_run
from recbole_nif.inference import Scorer
from tests.toy import ROWS, save_run, toy_config, write_toy
from tests.toy_runs import OF_MODEL, SMALL

HEADER = "user_id:token\titem_id:token\ttimestamp:float\tscene:token\tbehavior:token\n"
EVENTS = ["a\tm1\t1000000150\tsearch\tcart", "b\t\t1000000601\thome\tbuy"]
LATER = {"item_id": "m2", "timestamp": 1000000800, "scene": "search", "behavior": "buy"}
ITEMS = ["m1", "m2", "m3"]
SETTINGS = SMALL | OF_MODEL["AMEN"] | {
    "scene_field": "tab", "scene_mode": "token", "moveline_files": ["events"],
    "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp", "tab"], "user": ["user_id"]},
}  # fmt: skip


def write_data(folder, events):
    write_toy(folder)
    inter = folder / "toy" / "toy.inter"
    first, *lines = inter.read_text().splitlines()
    inter.write_text("\n".join([f"{first}\ttab:token", *(f"{line}\thome" for line in lines)]) + "\n")
    (folder / "toy" / "toy.events").write_text(HEADER + "\n".join(events) + "\n")


@pytest.fixture
def run(tmp_path):
    write_data(tmp_path, EVENTS)
    train = CTRDataset(toy_config(tmp_path, "AMEN", **SETTINGS)).build()[0]
    torch.manual_seed(0)
    return save_run(tmp_path / "run", train.config, train.config.model_class(train.config, train))


def load(run, **options):
    return Scorer.load(run, device="cpu", **options)


def test_an_appended_event_scores_as_if_it_had_been_in_the_file(run, tmp_path):
    write_data(tmp_path / "grown", [*EVENTS, "a\tm2\t1000000800\tsearch\tbuy"])
    grown = load(run, settings=[f"--data_path={tmp_path / 'grown'}"])
    scorer = load(run)
    before = scorer.score("a", ITEMS, at=1000000900)
    scorer.update("a", [LATER])
    given = scorer.score("a", ITEMS, at=1000000900)
    assert np.abs(given - before).max() > 1e-6
    assert np.abs(given - grown.score("a", ITEMS, at=1000000900)).max() < 1e-6


def test_a_history_may_mix_samples_and_other_events(run, tmp_path):
    rows = [{"item_id": item, "rating": rating, "timestamp": time, "tab": "home"}
            for user, item, rating, time in ROWS if user == "a"]  # fmt: skip
    others = [{"item_id": "m1", "timestamp": 1000000150, "scene": "search", "behavior": "cart"}]
    scorer = load(run)
    given = scorer.score(history=rows + others, items=ITEMS, at=1000000900)
    scorer.update("a stranger", rows + others)
    assert np.abs(given - scorer.score("a stranger", ITEMS, at=1000000900)).max() < 1e-6
    assert np.abs(given - scorer.score(history=rows, items=ITEMS, at=1000000900)).max() > 1e-6


def test_an_interval_of_ratings_leaves_out_samples_only(run):
    scorer = load(run, settings=["--val_interval={rating: '[1,inf)'}"])
    scorer.update("a", [LATER, {"item_id": "m1", "rating": 0.5, "timestamp": 1000000900}])
    assert len(scorer.log.of(1)) == len(load(run).log.of(1)) + 1


def test_an_export_reads_them_too(run, tmp_path):
    scorers = load(run), load(export_run(run, tmp_path / "export"))
    for scorer in scorers:
        scorer.update("a", [LATER])
    assert (scorers[0].score("a", ITEMS) == scorers[1].score("a", ITEMS)).all()


def test_names_that_nobody_knew_and_a_missing_item_count_as_missing(run):
    scorer, unknown = load(run), {"timestamp": 1000000800, "scene": "never seen", "behavior": "flew"}
    scorer.update("a", [unknown])
    assert np.isfinite(scorer.score("a", ITEMS)).all()


def test_an_event_without_answer_and_behavior_is_refused(run):
    scorer = load(run)
    with pytest.raises(UserError, match="rating is missing"):
        scorer.update("a", [{"item_id": "m1", "timestamp": 1000000800, "rating": None}])
    with pytest.raises(UserError, match="Row 2.*scene is missing"):
        scorer.update("a", [LATER, {**LATER, "scene": ""}])
    with pytest.raises(UserError, match="Row 2.*item_id is missing"):
        scorer.update("a", [LATER, {"item_id": "", "rating": 5, "timestamp": 1000000900}])
    assert len(scorer.log.of(1)) == len(load(run).log.of(1))
