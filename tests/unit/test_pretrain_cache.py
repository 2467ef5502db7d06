"""Runs that would train the same stage 1 share one, and no others do."""

import threading

import pytest
import torch

from recbole_nif.errors import UserError
from recbole_nif.model.amen.build import STAGE_2_KEYS
from recbole_nif.model.amen.model import AMEN
from recbole_nif.trainer import checkpoint
from tests.unit.test_trainer import Run
from tests.unit.trainer_doubles import TwoStage

SMALL = {
    "embedding_size": 4, "hidden_size": 8, "n_layers": 1, "flow_len": 2, "mlp_hidden_size": [8],
    "moveline_length": 6, "pretrain_epochs": 2, "pretrain_batch_size": 8,
}  # fmt: skip
# Every key that stage 1 does not read, with a value that is not its default
OTHER_STAGE_2 = {
    "train_stage": "pretrain", "pretrained_generator": None, "model_file": None,
    "use_nif": False, "flow_dropout_prob": 0.2, "stage1_item_vectors": "trainable",
    "init_from_generator": False, "freeze_generator": False, "pretrained_learning_rate": 0.01,
    "use_sam": False, "lambda_align": 0.5, "align_temperature": 0.5, "generator_cross_fit": "kfold",
    "cross_fit_folds": 3, "flow_cache": "none", "flow_cache_memory_mb": 1, "tsp_mode": "none",
    "lambda_tsp": 0.3, "tsp_partner": "nearest", "tsp_neighbors": 2, "tsp_window": 100.0, "tsp_ratio": 0.2,
    "use_scene_space": False, "use_item_space": False, "history": "clicks", "MAX_ITEM_LIST_LENGTH": 3,
    "attention_mlp_hidden_size": [4], "attention_activation": "relu", "attention_softmax": True,
    "cross_layers": 1, "cross_rank": 2, "mlp_hidden_size": [4, 4], "mlp_activation": "relu",
    "dropout_prob": 0.4, "rows_per_window": 2, "train_batch_size": 7, "eval_batch_size": 9,
}  # fmt: skip
OF_STAGE_2_BY_PREFIX = {"epochs": 1, "learning_rate": 0.05, "weight_decay": 0.1, "stopping_step": 1}


def trained(folder, model="AMEN", **settings):
    """A run that was fitted; ``folder.parent`` holds the data of all runs of a test."""
    run = Run(folder, model, **{**SMALL, "pretrain_cache": str(folder.parent / "stage-1"), **settings})
    run.fit()
    return run


def files(tmp_path):
    return sorted((tmp_path / "stage-1").glob("*.pt"))


def generator_of(run):
    return checkpoint.load(run.trainer.run_dir / "checkpoints" / "pretrain-best.pt")["state_dict"]


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_stage_1_is_the_same_whatever_the_keys_of_stage_2_say(tmp_path):
    """Without a cache: this is what makes sharing exact."""
    assert OTHER_STAGE_2.keys() == STAGE_2_KEYS
    one = trained(tmp_path / "a", pretrain_cache=None)
    other = trained(tmp_path / "b", pretrain_cache=None, **OTHER_STAGE_2, **OF_STAGE_2_BY_PREFIX)
    assert equal(generator_of(one), generator_of(other))
    assert one.trainer.reports[0].curve == other.trainer.reports[0].curve


def test_a_second_run_takes_stage_1_from_the_first_and_ends_as_if_it_had_trained_it(tmp_path):
    changed = {"use_sam": False, "tsp_mode": "none", "learning_rate": 0.01, "epochs": 2}
    first = trained(tmp_path / "first")
    alone = trained(tmp_path / "alone", pretrain_cache=None, **changed)
    second = trained(tmp_path / "second", **changed)
    assert len(files(tmp_path)) == 1
    assert equal(generator_of(second), generator_of(alone))
    assert second.test() == alone.test()
    mine, its = second.trainer.reports[0], alone.trainer.reports[0]
    assert (
        mine.facts == {**its.facts, "from_cache": True} and "from_cache" not in first.trainer.reports[0].facts
    )
    assert mine.curve == its.curve and mine.seconds == first.trainer.reports[0].seconds
    assert (mine.best_epoch, mine.checkpoint) == (its.best_epoch, "pretrain-best.pt")


def test_a_run_that_goes_on_keeps_the_stage_1_that_it_trained_itself(tmp_path):
    first = trained(tmp_path / "first")
    again = Run(tmp_path / "first", "AMEN", **SMALL, pretrain_cache=str(tmp_path / "stage-1"))
    again.trainer.resumes = True
    again.fit()
    assert again.trainer.reports[0].record() == first.trainer.reports[0].record()


def test_a_run_that_goes_on_keeps_what_it_took_wherever_the_folder_is_now(tmp_path):
    trained(tmp_path / "first")
    second = trained(tmp_path / "second", use_sam=False)
    (tmp_path / "stage-1").rename(tmp_path / "elsewhere")
    again = Run(tmp_path / "second", "AMEN", **SMALL, use_sam=False, pretrain_cache=str(tmp_path / "stage-1"))
    again.trainer.resumes = True
    again.fit()
    assert again.trainer.reports[0].record() == second.trainer.reports[0].record()
    assert not (tmp_path / "stage-1").exists()


def test_other_genres_of_the_same_items_are_other_data(tmp_path):
    """The hash of a stage 1 holds the checksum of its data."""
    view = Run(tmp_path, "AMEN", **SMALL).views[0]
    before = view.fingerprint()
    view.scenes.members[1:] += 1
    assert view.fingerprint() != before


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 2021},
        {"pretrain_epochs": 1},
        {"pretrain_learning_rate": 0.01},
        {"lambda_div": 0.0},
        {"moveline_length": 5},
        {"ema_decay": 0.5},
        {"threshold": {"rating": 3}},
    ],
)
def test_a_run_of_another_stage_1_trains_its_own(tmp_path, settings):
    trained(tmp_path / "a", train_stage="pretrain")
    other = trained(tmp_path / "b", train_stage="pretrain", **settings)
    assert len(files(tmp_path)) == 2 and "from_cache" not in other.trainer.reports[0].facts


def test_a_run_that_is_judged_by_other_rows_trains_its_own(tmp_path):
    trained(tmp_path / "a", train_stage="pretrain")
    other = Run(tmp_path / "b", "AMEN", **SMALL, pretrain_cache=str(tmp_path / "stage-1"))
    train, _, test = other.loaders
    other.trainer.fit(train, test)
    assert len(files(tmp_path)) == 2 and "from_cache" not in other.trainer.reports[0].facts


@pytest.mark.parametrize("model", ["AMEN", TwoStage])
def test_of_a_subclass_and_of_another_model_every_key_counts(tmp_path, model):
    class Mine(AMEN):
        """Its stage 1 may read keys that AMEN's does not."""

    cached = []
    for place, rate in enumerate((0.1, 0.1, 0.2)):
        folder, store = tmp_path / str(place), str(tmp_path / "stage-1")
        run = Run(folder, model, **SMALL, pretrain_cache=store, train_stage="pretrain", dropout_prob=rate)
        if model == "AMEN":
            run.model.__class__ = Mine
        run.fit()
        cached.append("from_cache" in run.trainer.reports[0].facts)
    assert cached == [False, True, False] and len(files(tmp_path)) == 2


def test_runs_that_start_together_train_one_stage_1(tmp_path):
    runs = [Run(tmp_path / name, "AMEN", **SMALL, pretrain_cache=str(tmp_path / "stage-1")) for name in "ab"]
    threads = [threading.Thread(target=run.fit) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted("from_cache" in run.trainer.reports[0].facts for run in runs) == [False, True]


def test_a_damaged_file_and_a_place_that_is_no_folder_are_named(tmp_path):
    trained(tmp_path / "a", train_stage="pretrain")
    files(tmp_path)[0].write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match=r"stage-1.*\.pt is damaged: remove it"):
        trained(tmp_path / "b", train_stage="pretrain")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Cannot use the folder .*file.* set pretrain_cache"):
        trained(tmp_path / "c", train_stage="pretrain", pretrain_cache=str(tmp_path / "file"))
