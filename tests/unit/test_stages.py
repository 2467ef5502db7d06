import math

import pytest
import torch
from torch import nn

from recbole_nif.errors import Diverged, UserError
from recbole_nif.trainer import checkpoint
from recbole_nif.trainer.engine import Engine, build_optimizer
from recbole_nif.trainer.loop import run_stage
from recbole_nif.trainer.progress import Meter, Scalars
from recbole_nif.trainer.stages import EarlyStopping, Settings
from tests.unit.doubles import FakeConfig
from tests.unit.trainer_doubles import ScriptedStage, stage_config


def run(stage, folder=None, config=None, **options):
    return run_stage(stage, config or stage_config(), folder=folder, scalars=Scalars(None), **options)


# A step of SGD with rate .25 on (w - 1)^2 halves the distance to 1: an epoch of two steps leaves a quarter.
AFTER = [1 - 0.25 ** (epoch + 1) for epoch in range(10)]


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_stage_ends_with_the_weights_of_its_best_epoch(tmp_path, on_disk):
    stage = ScriptedStage([0.6, 0.8, 0.7], patience=5)
    report = run(stage, tmp_path if on_disk else None)
    assert stage.weights == pytest.approx(AFTER[:3])
    assert stage.module.weight.item() == pytest.approx(AFTER[1])
    assert (report.best_epoch, report.best_score, report.epochs_run) == (1, 0.8, 3)
    assert report.valid == {"auc": 0.8, "logloss": 0.5}


def test_training_stops_after_more_than_patience_epochs_without_improvement():
    stage = ScriptedStage([0.8, 0.7, 0.7, 0.7, 0.9], patience=2)
    report = run(stage)
    assert stage.seen_epochs == [0, 1, 2, 3]
    assert report.best_epoch == 0


def test_a_smaller_logloss_is_better_and_an_equal_score_counts_as_better():
    stopping = EarlyStopping(patience=0, bigger=False)
    assert [stopping.update(score, epoch) for epoch, score in enumerate([0.5, 0.4, 0.4, 0.6])] == [
        True,
        True,
        True,
        False,
    ]
    assert (stopping.best, stopping.best_epoch, stopping.stop) == (0.4, 2, True)


def test_epochs_between_validations_never_become_the_best():
    stage = ScriptedStage([0.9, 0.5], epochs=4, eval_step=2, patience=5)
    report = run(stage)
    assert report.best_epoch == 1
    assert stage.module.weight.item() == pytest.approx(AFTER[1])
    assert report.curve[0]["valid"] is None and report.curve[1]["valid"]["auc"] == 0.9


def test_without_validation_the_last_epoch_counts():
    stage = ScriptedStage([], epochs=3)
    report = run(stage)
    assert stage.module.weight.item() == pytest.approx(AFTER[2])
    assert (report.best_epoch, report.best_score, report.valid) == (2, None, None)


def test_zero_epochs_keep_the_initial_weights(tmp_path):
    stage = ScriptedStage([], epochs=0)
    report = run(stage, tmp_path)
    assert stage.module.weight.item() == 0.0
    assert report.rows_per_second is None
    assert checkpoint.load(tmp_path / "scripted-best.pt")["epoch"] == -1


def test_the_curve_holds_mean_loss_terms_and_validation_metrics_of_every_epoch():
    report = run(ScriptedStage([0.6, 0.8]))
    # squared distances to 1 before the two steps of epoch 0: 1 and 1/4
    assert report.curve[0] == {
        "epoch": 0,
        "loss": {"fit": pytest.approx(0.625), "extra": 0.0},
        "valid": {"auc": 0.6, "logloss": 0.5},
    }
    assert report.rows == 12
    assert report.rows_per_second == pytest.approx(12 / report.train_seconds)


def test_best_and_last_checkpoints_say_what_they_are(tmp_path):
    run(ScriptedStage([0.6, 0.8, 0.7], patience=5), tmp_path)
    best = checkpoint.load(tmp_path / "scripted-best.pt", expected_model="Tiny", expected_stage="scripted")
    last = checkpoint.load(tmp_path / "scripted-last.pt")
    assert best["epoch"] == 1 and "optimizer" not in best
    assert best["state_dict"]["weight"].item() == pytest.approx(AFTER[1])
    assert (last["epoch"], last["step"], last["complete"]) == (3, 0, True)
    assert last["early_stop"] == {"best": 0.8, "best_epoch": 1, "waited": 1}
    assert last["optimizer"]["param_groups"][0]["lr"] == 0.25


def test_a_loss_that_is_not_finite_stops_the_run_and_names_epoch_and_term():
    with pytest.raises(Diverged, match="loss term fit is not finite in epoch 0 of stage scripted"):
        run(ScriptedStage([0.5], target=1e30))  # its square is infinite in float32


def test_an_unknown_validation_metric_is_told_with_the_known_ones():
    with pytest.raises(UserError, match="valid_metric is 'mrr@10': use one of auc, logloss"):
        run(ScriptedStage([0.5], metric="mrr@10"))


def test_an_undefined_validation_metric_is_refused():
    with pytest.raises(UserError, match="'auc' is undefined on the validation rows"):
        run(ScriptedStage([math.nan]))


def test_the_callback_hears_every_validation():
    heard = []
    run(ScriptedStage([0.6, 0.8]), callback=lambda epoch, score: heard.append((epoch, score)))
    assert heard == [(0, 0.6), (1, 0.8)]


class NoBatch(ScriptedStage):
    """Without a batch from epoch ``empty`` on, as a stream whose shards are dealt anew may be."""

    empty, present = 0, 0

    def batches(self, epoch, first=0):
        self.present = epoch
        return super().batches(epoch, first)

    def __len__(self):
        return 0 if self.present >= self.empty else super().__len__()


@pytest.mark.parametrize("empty", [0, 1])
def test_a_process_without_a_batch_is_told_before_it_trains(empty):
    stage = NoBatch([0.6, 0.7])
    stage.empty = empty
    named = f"In epoch {empty} of stage scripted a process has no batch: start fewer processes"
    with pytest.raises(UserError, match=named):
        run(stage)
    assert (stage.module.weight.item() == 0) == (empty == 0)


def test_settings_of_a_stage_fall_back_to_the_plain_keys():
    config = FakeConfig(
        epochs=7, pretrain_epochs=3, learning_rate=0.01, stopping_step=2, valid_metric="UserAUC"
    )
    assert Settings.read(config) == Settings(7, 0.01, 0.0, 2, 1, "gauc")
    assert Settings.read(config, "pretrain_", "recall@50") == Settings(3, 0.01, 0.0, 2, 1, "recall@50")


def test_a_metric_that_is_not_computed_is_refused_before_anything_is_trained():
    with pytest.raises(UserError, match="valid_metric is RMSE: use AUC, GAUC or LogLoss"):
        Settings.read(FakeConfig(valid_metric="RMSE"))


def engine(config, rate=1.0):
    module = nn.Linear(1, 1, bias=False)
    nn.init.ones_(module.weight)
    group = {"params": list(module.parameters()), "lr": rate, "weight_decay": 0.0}
    return module, Engine(config, module, lambda batch: {"loss": 10 * module(batch["x"]).sum()}, [group])


def test_gradients_are_clipped_as_recbole_names_it():
    batch = {"x": torch.ones(1, 1)}
    module, free = engine(stage_config())
    free.step(batch)
    assert module.weight.item() == pytest.approx(1 - 10)
    module, clipped = engine(stage_config(clip_grad_norm={"max_norm": 2.0}))
    clipped.step(batch)
    assert module.weight.item() == pytest.approx(1 - 2, abs=1e-5)


def test_mixed_precision_computes_the_loss_in_the_chosen_type():
    seen = []
    module = nn.Linear(1, 1)

    def loss_terms(batch):
        output = module(batch["x"])
        seen.append(output.dtype)
        return {"loss": output.float().sum()}

    group = {"params": list(module.parameters()), "lr": 0.1, "weight_decay": 0.0}
    Engine(stage_config(enable_amp=True), module, loss_terms, [group]).step({"x": torch.ones(1, 1)})
    assert seen == [torch.bfloat16]
    with pytest.raises(UserError, match="amp_dtype is 'float8'"):
        Engine(stage_config(amp_dtype="float8"), module, loss_terms, [group])


def failing(*_):
    raise RuntimeError("no compiler\nand a long story")


@pytest.mark.parametrize("forward", [True, False])
def test_where_compiling_fails_training_goes_on_without_it(monkeypatch, caplog, forward):
    def compiled(loss_terms):
        if forward:
            return failing
        return lambda batch: {name: _FailsBackward.apply(term) for name, term in loss_terms(batch).items()}

    monkeypatch.setattr(torch, "compile", compiled)
    module, trained = engine(stage_config(compile=True))
    for _ in range(2):
        trained.step({"x": torch.ones(1, 1)})
    assert module.weight.item() == pytest.approx(1 - 2 * 10)
    (warning,) = [record.message for record in caplog.records if "torch.compile" in record.message]
    assert warning.endswith("no compiler")


class _FailsBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    backward = staticmethod(failing)


def test_a_mistake_of_the_model_is_not_taken_for_one_of_the_compiler(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda loss_terms: loss_terms)
    with pytest.raises(KeyError, match="x"):
        engine(stage_config(compile=True))[1].step({})
    with pytest.raises(KeyError, match="x"):
        engine(stage_config())[1].step({})


def test_a_module_without_trainable_parameters_is_refused():
    with pytest.raises(UserError, match="Linear has no trainable parameter"):
        Engine(
            stage_config(), nn.Linear(1, 1), lambda batch: {}, [{"params": [], "lr": 1, "weight_decay": 0}]
        )


@pytest.mark.parametrize("name", ["adam", "AdamW", "sgd", "adagrad", "rmsprop"])
def test_every_dense_learner_of_recbole_is_known(name):
    weight = nn.Parameter(torch.ones(2))
    optimizer = build_optimizer(name, [{"params": [weight], "lr": 0.5, "weight_decay": 0.0}])
    assert type(optimizer).__name__.lower() == name.lower().replace("_", "")
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_an_unknown_learner_is_an_error_instead_of_adam():
    with pytest.raises(UserError, match="learner is 'lion'"):
        build_optimizer("lion", [])


def test_a_meter_averages_each_term_over_the_steps_that_had_it():
    meter = Meter()
    meter.add({"bce": torch.tensor(1.0)})
    meter.add({"bce": torch.tensor(3.0), "tsp": torch.tensor(5.0)})
    assert meter.means() == {"bce": 2.0, "tsp": 5.0}
    assert Meter().means() == {}


def test_scalars_write_an_event_file_only_when_asked(tmp_path):
    for folder in (None, tmp_path / "tensorboard"):
        scalars = Scalars(folder)
        scalars.add("finetune/loss", {"bce": 0.5}, 0)
        scalars.close()
    assert [path.name[:6] for path in (tmp_path / "tensorboard").iterdir()] == ["events"]
