"""The trainer on a toy data set: both stages, flows, and what a stock pipeline hands over."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from recbole.data.dataloader import TrainDataLoader

from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.data.fields import FLOW, ROW_ID
from recbole_nif.errors import UserError
from recbole_nif.evaluation.flow_probe import FlowProbe, memorizes
from recbole_nif.trainer import checkpoint
from recbole_nif.trainer.cross_fit import fit_fold_generators, folds_of_users
from recbole_nif.trainer.flow_cache import FlowCache
from recbole_nif.trainer.loop import run_stage
from recbole_nif.trainer.progress import Scalars
from recbole_nif.trainer.trainer import NIFTrainer
from tests.toy import toy_config, write_toy
from tests.unit.trainer_doubles import TwoStage


def random_rows(users=6, events=40, items=60):
    rng = np.random.default_rng(0)
    return [
        (
            f"u{user}",
            f"m{1 + rng.integers(items)}",
            int(rng.integers(1, 6)),
            1000000000 + 60 * int(step * 0.8),
        )
        for user in range(users)
        for step in range(events)
    ]


class Run:
    """A toy data set with a model and its trainer."""

    def __init__(self, folder, model, **settings):
        write_toy(folder, random_rows())
        settings = {"run_dir": str(folder / "run"), "epochs": 3, **settings}
        self.config = toy_config(folder, model, **settings)
        self.views = CTRDataset(self.config).build()
        self.loaders = [
            CTRDataLoader(self.config, view, phase, shuffle=phase == "train")
            for view, phase in zip(self.views, ("train", "valid", "test"), strict=True)
        ]
        torch.manual_seed(0)
        self.model = self.config.model_class(self.config, self.views[0])
        self.trainer = NIFTrainer(self.config, self.model)

    def fit(self, **options):
        return self.trainer.fit(*self.loaders[:2], **options)

    def test(self, **options):
        return self.trainer.evaluate(self.loaders[2], **options)


def test_a_recbole_model_is_trained_and_its_best_checkpoint_scores_the_same(tmp_path):
    run = Run(tmp_path, "DeepFM")
    best_score, best_result = run.fit()
    assert best_score == best_result["auc"] == run.trainer.best_valid_score
    in_memory = run.test(load_best_model=False)
    assert list(in_memory) == ["auc", "logloss", "gauc"]
    assert run.test() == in_memory
    assert run.trainer.saved_model_file == str(tmp_path / "run" / "checkpoints" / "finetune-best.pt")


def test_an_unsaved_fit_writes_nothing_and_keeps_the_best_weights_of_a_saved_one(tmp_path):
    saved, unsaved = Run(tmp_path, "DeepFM"), Run(tmp_path, "DeepFM")
    assert unsaved.fit(saved=False) == saved.fit()
    assert unsaved.test(load_best_model=False) == saved.test()


def test_an_unsaved_fit_creates_no_folder(tmp_path):
    run = Run(tmp_path, "DeepFM")
    run.fit(saved=False)
    assert not (tmp_path / "run").exists() and not (tmp_path / "saved").exists()


def test_recboles_own_loaders_are_replaced_by_ours_over_the_same_rows(tmp_path):
    ours, stock = Run(tmp_path / "a", "DeepFM"), Run(tmp_path / "b", "DeepFM")
    stock.loaders = [
        TrainDataLoader(stock.config, view, None, shuffle=place == 0)
        for place, view in enumerate(stock.views)
    ]
    assert stock.fit() == ours.fit()
    assert stock.test() == ours.test()


def test_two_stages_run_in_turn_and_the_second_reads_cached_flows(tmp_path):
    run = Run(tmp_path, TwoStage)
    run.fit()
    pretrain, finetune = run.trainer.reports
    assert (pretrain.name, pretrain.unit, finetune.name, finetune.unit) == (
        "pretrain",
        "cuts",
        "finetune",
        "rows",
    )
    assert finetune.rows == 3 * len(run.views[0])
    assert pretrain.rows == 3 * run.loaders[0].windows(length=4, stride=2, flow_len=2, batch_size=4).n_cuts
    assert {"recall@10", "recall@50", "train_recall@50", "gap@50", "cos_clicked"} <= pretrain.valid.keys()
    assert {"popularity_recall@10", "last_click_recall@50", "memorizes"} <= pretrain.facts.keys()
    run.test()
    assert run.model.flows_seen and all(run.model.flows_seen)


def test_cached_and_recomputed_flows_give_the_same_metrics(tmp_path):
    cached, recomputed = Run(tmp_path / "a", TwoStage), Run(tmp_path / "b", TwoStage, flow_cache="none")
    cached.fit()
    recomputed.fit()
    assert not any(recomputed.model.flows_seen)
    assert recomputed.test() == pytest.approx(cached.test(), abs=1e-3)


def test_stage_2_leaves_the_generator_as_stage_1_left_it(tmp_path):
    run = Run(tmp_path, TwoStage)
    run.fit()
    pretrained = checkpoint.load(tmp_path / "run" / "checkpoints" / "pretrain-best.pt")["state_dict"]
    for name, value in run.model.generator.state_dict().items():
        assert torch.equal(value, pretrained[name])


def test_a_pretrained_generator_can_be_finetuned_in_another_run(tmp_path):
    both = Run(tmp_path / "both", TwoStage)
    both.fit()
    first = Run(tmp_path / "first", TwoStage, train_stage="pretrain")
    score, result = first.fit()
    assert score == result["recall@50"]
    file = first.trainer.saved_model_file
    second = Run(tmp_path / "second", TwoStage, train_stage="finetune", pretrained_generator=file)
    second.fit()
    assert second.test() == both.test()


def test_a_checkpoint_of_stage_1_is_no_model_to_evaluate(tmp_path):
    run = Run(tmp_path, TwoStage, train_stage="pretrain")
    run.fit()
    with pytest.raises(UserError, match="holds stage 'pretrain', not 'finetune'"):
        run.test()


def test_a_stage_that_the_model_does_not_have_is_told(tmp_path):
    with pytest.raises(UserError, match="train_stage is 'pretrain', but DeepFM has only finetune"):
        Run(tmp_path, "DeepFM", train_stage="pretrain")


def test_weights_from_elsewhere_are_never_scored_with_the_flows_of_this_run(tmp_path):
    run, other = Run(tmp_path / "a", TwoStage), Run(tmp_path / "b", TwoStage, seed=1)
    run.fit()
    other.fit()
    expected = other.test()
    run.model.flows_seen.clear()
    assert run.test(model_file=other.trainer.saved_model_file) == pytest.approx(expected, abs=1e-3)
    assert not any(run.model.flows_seen)


@pytest.mark.parametrize("kind", ["memory", "memmap", "auto"])
def test_the_flow_of_every_row_lies_at_its_row_id(tmp_path, kind):
    run = Run(tmp_path, TwoStage, flow_cache=kind, flow_cache_memory_mb=1)
    cache = FlowCache(run.config, tmp_path / "run")
    for loader in run.loaders:
        cache.attach(loader, run.model.generator)
        for batch in loader:
            expected = run.model.generator.flow(batch).half()
            assert torch.equal(batch[FLOW], expected)
            assert torch.equal(cache.table[batch[ROW_ID]], expected)
    mapped = cache.table.untyped_storage().filename
    assert (mapped is not None) == (kind == "memmap")
    assert not any((tmp_path / "run").glob("*"))  # the file is gone with its name


def test_cross_fitting_takes_the_flow_of_a_training_row_from_the_other_folds_generator(tmp_path):
    run = Run(tmp_path, TwoStage, generator_cross_fit="kfold")
    run.fit()
    train, valid, _ = run.views
    whole = {}
    for view in (train, valid):
        for batch in CTRDataLoader(run.config, view, phase="valid"):
            whole |= dict(zip(batch[ROW_ID].tolist(), run.model.generator.flow(batch).half(), strict=True))
    table = run.trainer.flows.table
    assert all(torch.equal(table[row], whole[row]) for row in valid.inter_feat[ROW_ID].tolist())
    assert any(not torch.equal(table[row], whole[row]) for row in train.inter_feat[ROW_ID].tolist())


def test_fold_generators_keep_the_flow_space_and_never_train_on_their_own_users(tmp_path):
    run = Run(tmp_path, TwoStage)
    full = run.model.generator
    before = copy.deepcopy(full.state_dict())
    fold_of = torch.tensor([0, 0, 0, 0, 1, 1, 1])  # id 0 is padding
    first, second = fit_fold_generators(
        run.config,
        full,
        run.loaders[0],
        fold_of,
        epochs=2,
        train=partial(run_stage, config=run.config, folder=None, scalars=Scalars(None)),
    )
    for generator in (first, second):
        assert torch.equal(generator.vectors.weight, full.vectors.weight)
        assert not any(parameter.requires_grad for parameter in generator.parameters())
    assert not torch.equal(first.next.weight, second.next.weight)
    assert all(torch.equal(value, before[name]) for name, value in full.state_dict().items())


def test_folds_are_balanced_and_a_function_of_the_seed():
    folds = folds_of_users(101, 2, seed=7)
    assert sorted(folds.bincount().tolist()) == [50, 51]
    assert torch.equal(folds, folds_of_users(101, 2, seed=7))
    assert not torch.equal(folds, folds_of_users(101, 2, seed=8))
    with pytest.raises(UserError, match="cross_fit_folds is 1"):
        folds_of_users(101, 1, seed=7)


def test_a_generator_that_points_at_the_next_item_has_full_recall_and_a_constant_one_none(tmp_path):
    run = Run(tmp_path, TwoStage)
    probe = FlowProbe(run.config, run.views[0], run.views[1])
    assert probe.cold.tolist() == probe.valid.clicked.tolist()  # no item has five training clicks
    generator = run.model.generator

    class Oracle(torch.nn.Module):
        item_targets = generator.item_targets

        def flow(self, batch):
            return 3 * generator.vectors(batch["item_id"]).unsqueeze(1)

    perfect = probe.measure(Oracle())
    assert perfect["recall@10"] == perfect["train_recall@10"] == 1.0 and perfect["gap@10"] == 0.0
    assert perfect["cold_recall@50"] == 1.0
    assert perfect["cos_clicked"] == pytest.approx(1.0) and perfect["cos_unclicked"] == pytest.approx(1.0)
    with torch.no_grad():
        generator.vectors.weight.fill_(1.0)  # collapsed: every item is equally near
        generator.next.weight.fill_(1.0)
    assert probe.measure(generator)["recall@10"] == 0.0


def test_the_angle_of_a_flow_tells_whether_its_vectors_are_one(tmp_path):
    run = Run(tmp_path, TwoStage)
    probe = FlowProbe(run.config, run.views[0], run.views[1])
    generator = run.model.generator

    class Fixed(torch.nn.Module):
        item_targets = generator.item_targets

        def __init__(self, vectors):
            super().__init__()
            self.vectors = torch.tensor(vectors)

        def flow(self, batch):
            return self.vectors.expand(len(batch["item_id"]), -1, -1)

    first, second = torch.eye(generator.vectors.weight.shape[1])[:2].tolist()
    assert probe.measure(Fixed([first, first]))["flow_angle"] == pytest.approx(0, abs=1e-3)
    assert probe.measure(Fixed([first, second, second]))["flow_angle"] == pytest.approx(60)  # 90, 90 and 0
    assert "flow_angle" not in probe.measure(Fixed([first]))


def test_memory_is_a_label_gap_on_training_rows_of_more_than_twice_the_one_on_validation_rows():
    metrics = {
        "train_cos_clicked": 0.5,
        "train_cos_unclicked": 0.1,
        "cos_clicked": 0.3,
        "cos_unclicked": 0.15,
    }
    assert memorizes(metrics)
    assert not memorizes(metrics | {"cos_clicked": 0.36})


def test_cross_fitting_without_stored_flows_is_refused(tmp_path):
    run = Run(tmp_path, TwoStage, generator_cross_fit="kfold", flow_cache="none")
    with pytest.raises(UserError, match="generator_cross_fit: kfold stores flows"):
        run.fit()


def test_folds_are_not_trained_for_a_time_that_is_not_known(tmp_path):
    """``model_file`` holds a generator and does not say how long stage 1 was."""
    first = Run(tmp_path / "first", TwoStage)
    first.fit()
    given = {"train_stage": "finetune", "model_file": first.trainer.saved_model_file}
    run = Run(tmp_path / "second", TwoStage, generator_cross_fit="kfold", **given)
    with pytest.raises(UserError, match="kfold trains generators as long as stage 1 did"):
        run.fit()
