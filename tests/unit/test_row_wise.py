"""``learner: sparse_adam``: which rows of a table a step changes, and that the rest is as with Adam."""

import copy

import pytest
import torch
from torch import nn

from recbole_nif.errors import UserError
from recbole_nif.trainer.averaging import WeightAverage
from recbole_nif.trainer.engine import Engine
from tests.unit.test_trainer import Run
from tests.unit.trainer_doubles import stage_config


class Tables(nn.Module):
    """Sum over looked-up rows of a large and a small table, weighted."""

    def __init__(self):
        super().__init__()
        self.large, self.small, self.weight = nn.Embedding(6, 2), nn.Embedding(5, 2), nn.Linear(4, 1)
        torch.manual_seed(1)
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def loss(self, ids):
        vectors = torch.cat([self.large(ids), self.small(ids % 5)], dim=1)
        return {"loss": self.weight(vectors).square().mean()}


def engine_of(learner, *, decay=0.0, **options):
    module = Tables()
    groups = [{"params": list(module.parameters()), "lr": 0.1, "weight_decay": decay}]
    config = stage_config(learner=learner, sparse_adam_rows=6, **options)
    return module, Engine(config, module, module.loss, groups)


def test_a_step_changes_only_the_rows_of_a_large_table_that_were_looked_up():
    module, engine = engine_of("sparse_adam", decay=0.5)
    before = module.large.weight.detach().clone()
    engine.step(torch.tensor([1, 3, 3]))
    changed = (module.large.weight != before).any(dim=1)
    assert changed.tolist() == [False, True, False, True, False, False]
    (state,) = engine.optimizer.parts[0].state.values()
    assert (state["exp_avg"] != 0).any(dim=1).tolist() == changed.tolist()


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_where_every_row_is_looked_up_it_is_adam(decay):
    (sparse, one), (dense, other) = engine_of("sparse_adam", decay=decay), engine_of("adam", decay=decay)
    for _ in range(3):
        for engine in (one, other):
            engine.step(torch.tensor([0, 1, 2, 3, 4, 5, 5]))
    for name, value in sparse.state_dict().items():
        torch.testing.assert_close(value, dense.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_small_tables_and_layers_are_trained_by_adam_also_where_nothing_was_looked_up():
    (sparse, one), (dense, other) = engine_of("sparse_adam", decay=0.5), engine_of("adam", decay=0.5)
    one.step(torch.tensor([1])), other.step(torch.tensor([1]))
    assert torch.equal(sparse.small.weight, dense.small.weight)
    assert not torch.equal(sparse.large.weight, dense.large.weight)  # Adam decays the other rows, too


def test_a_table_that_is_not_only_looked_up_is_trained_all_the_same():
    module, engine = engine_of("sparse_adam")
    engine._loss_terms = lambda ids: {"loss": module.large.weight[2:4].sum() + module.large(ids).sum()}
    before = module.large.weight.detach().clone()
    engine.step(torch.tensor([0]))
    assert (module.large.weight != before).any(dim=1).tolist() == [True, False, True, True, False, False]


def test_the_weight_average_of_a_table_is_the_one_of_all_its_rows():
    module, engine = engine_of("sparse_adam", ema_decay=0.9)
    plain = WeightAverage([module.large.weight], 0.9)
    for ids in ([1, 2], [3], [1, 5], [2, 2, 4], [1], [1]):
        engine.step(torch.tensor(ids))
        plain.update()
    with engine.averaged():
        torch.testing.assert_close(module.large.weight, plain.averages[0], rtol=1e-6, atol=1e-7)
    engine.step(torch.tensor([0, 1]))
    plain.update()
    with engine.averaged():
        torch.testing.assert_close(module.large.weight, plain.averages[0], rtol=1e-6, atol=1e-7)


def test_a_restored_engine_goes_on_to_the_same_weights():
    whole, first = engine_of("sparse_adam", decay=0.1, ema_decay=0.9)
    batches = [torch.tensor(ids) for ids in ([1, 2], [3], [1, 5], [2, 4])]
    for ids in batches[:2]:
        first.step(ids)
    resumed, second = engine_of("sparse_adam", decay=0.1, ema_decay=0.9)
    resumed.load_state_dict(whole.state_dict())
    second.load(copy.deepcopy(first.state()))
    for ids in batches[2:]:
        first.step(ids), second.step(ids)
    with first.averaged(), second.averaged():
        assert all(torch.equal(*both) for both in zip(whole.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize("model", ["AMEN", "GenCI", "DeepFM"])
def test_models_train_with_it_nearly_as_with_adam(tmp_path, model):
    """Toy tables have few rows, nearly all of which occur in a batch; ids are looked up in many ways."""
    options = {"sparse_adam_rows": 6, "text_encoder": "features", "quantizer": "kmeans"}
    learners = ("adam", "sparse_adam")
    runs = {learner: Run(tmp_path / learner, model, learner=learner, **options) for learner in learners}
    losses = {}
    for learner, run in runs.items():
        run.fit()
        losses[learner] = [entry["loss"] for report in run.trainer.reports for entry in report.curve]
    sparse = [part for part in runs["sparse_adam"].model.modules() if getattr(part, "sparse", False)]
    assert sparse and runs["sparse_adam"].trainer.reports[-1].epochs_run > 0
    for one, other in zip(*losses.values(), strict=True):
        assert one == pytest.approx(other, rel=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clip_grad_norm": {"max_norm": 1.0}}, "does not go with clip_grad_norm"),
        ({"compile": True}, "does not go with compile"),
        ({"single_spec": False}, "trains in one process: use learner: adam"),
    ],
)
def test_what_does_not_go_with_it_is_told(options, words):
    with pytest.raises(UserError, match=words):
        engine_of("sparse_adam", **options)
