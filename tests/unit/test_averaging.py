"""The moving average of the weights: values by hand, and what a stage judges and keeps."""

import pytest
import torch

from recbole_nif.trainer import checkpoint
from recbole_nif.trainer.averaging import WeightAverage
from tests.unit.test_trainer import Run


def test_the_average_follows_the_weights_with_a_warm_up_of_the_decay():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    average = WeightAverage([weight], decay=0.15)
    for value in (2.0, 4.0):
        weight.data.fill_(value)
        average.update()
    first = 0.1 * 1.0 + 0.9 * 2.0  # decay (1 + 0) / (10 + 0), below 0.15
    assert average.averages[0].item() == pytest.approx(0.15 * first + 0.85 * 4.0)  # 2 / 11 is above it


def test_the_average_is_in_the_weights_only_while_it_is_applied():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    average = WeightAverage([weight], decay=0.5)
    weight.data.fill_(3.0)
    average.update()
    with pytest.raises(KeyError), average.applied():
        assert weight.item() == pytest.approx(0.1 * 1.0 + 0.9 * 3.0)
        raise KeyError
    assert weight.item() == 3.0


def test_a_restored_average_goes_on_as_if_never_stopped():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    whole, begun = WeightAverage([weight], decay=0.9), WeightAverage([weight], decay=0.9)
    weight.data.fill_(2.0)
    whole.update(), begun.update()
    resumed = WeightAverage([weight], decay=0.9)
    resumed.load(begun.state())
    weight.data.fill_(5.0)
    whole.update(), resumed.update()
    assert torch.equal(whole.averages[0], resumed.averages[0])


def test_a_stage_validates_and_keeps_the_average(tmp_path):
    run = Run(tmp_path, "NIFDIN", ema_decay=0.9)
    score, metrics = run.fit()
    run.trainer.evaluate(run.loaders[1], load_best_model=True)
    kept = {name: p.clone() for name, p in run.model.named_parameters()}
    assert run.trainer.evaluation.metrics()["auc"] == score == metrics["auc"]
    last = checkpoint.load(run.trainer.run_dir / "checkpoints" / "finetune-last.pt")
    best = run.trainer.reports[-1].best_epoch == run.trainer.reports[-1].epochs_run - 1
    averages = last["average"]["averages"]
    equal = [
        torch.equal(kept[name], value)
        for (name, _), value in zip(run.model.named_parameters(), averages, strict=True)
    ]
    trained = [torch.equal(kept[name], last["state_dict"][name]) for name in kept]
    assert all(equal) == best
    assert not any(trained)
