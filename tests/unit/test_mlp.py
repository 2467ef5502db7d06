"""Dice and the feed-forward network."""

import math

import pytest
import torch
import torch.nn.functional as F

from recbole_nif.errors import UserError
from recbole_nif.model.layers.mlp import MLP, Dice

EPS = 1e-8


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def plain_dice(x, alpha, mean, var):
    """The paper's formula, left to autograd."""
    p = torch.sigmoid((x - mean) / torch.sqrt(var + EPS))
    return p * x + (1 - p) * alpha * x


def test_dice_in_training_uses_mean_and_variance_of_the_batch():
    dice = Dice(1)
    dice.alpha.data.fill_(0.5)
    output = dice(torch.tensor([[1.0], [3.0]]))  # mean 2, variance 1: z = -1 and 1
    expected = [sigmoid(-1) * 1 + (1 - sigmoid(-1)) * 0.5 * 1, sigmoid(1) * 3 + (1 - sigmoid(1)) * 0.5 * 3]
    assert output.squeeze(1).tolist() == pytest.approx(expected, rel=1e-5)


def test_dice_in_evaluation_uses_running_averages_and_not_the_batch():
    dice = Dice(1, momentum=0.1)
    dice(torch.tensor([[1.0], [3.0]]))
    assert dice.running_mean.item() == pytest.approx(0.1 * 2)
    assert dice.running_var.item() == pytest.approx(0.9 * 1 + 0.1 * 1)
    dice.eval()
    expected = sigmoid((5 - 0.2) / math.sqrt(1 + EPS)) * 5
    assert dice(torch.tensor([[5.0], [100.0]]))[0].item() == pytest.approx(expected, rel=1e-5)
    assert dice(torch.tensor([[5.0], [-7.0]]))[0].item() == pytest.approx(expected, rel=1e-5)
    assert dice.running_mean.item() == pytest.approx(0.2)


def test_masked_positions_do_not_enter_the_statistics():
    x = torch.tensor([[[1.0], [3.0], [1000.0]]])
    mask = torch.tensor([[True, True, False]])
    masked, alone = Dice(1), Dice(1)
    output = masked(x, mask)
    assert torch.allclose(output[:, :2], alone(x[:, :2]))
    assert torch.equal(masked.running_mean, alone.running_mean)
    assert torch.equal(masked.running_var, alone.running_var)


def test_a_batch_without_valid_positions_leaves_the_running_averages_alone():
    dice = Dice(2)
    output = dice(torch.zeros(2, 3, 2), torch.zeros(2, 3, dtype=torch.bool))
    assert output.isfinite().all()
    assert dice.running_mean.tolist() == [0, 0]
    assert dice.running_var.tolist() == [1, 1]


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_those_of_the_formula(masked):
    generator = torch.Generator().manual_seed(1)
    x = (3 * torch.randn(12, 4, generator=generator) + 1).requires_grad_()
    alpha = torch.randn(4, generator=generator).requires_grad_()
    upstream = torch.randn(12, 4, generator=generator)
    mask = torch.arange(12) < 7 if masked else torch.ones(12, dtype=torch.bool)

    counted = x[mask]
    expected = plain_dice(x, alpha, counted.mean(0), counted.var(0, correction=0))
    wanted = torch.autograd.grad(expected, [x, alpha], upstream)

    dice = Dice(4)
    dice.alpha.data.copy_(alpha.detach())
    output = dice(x, mask if masked else None)
    got = torch.autograd.grad(output, [x, dice.alpha], upstream)
    assert torch.allclose(output, expected, atol=1e-6)
    assert torch.allclose(got[0], wanted[0], atol=1e-5)
    assert torch.allclose(got[1], wanted[1], atol=1e-5)
    assert got[1].abs().min() > 0


def test_dice_is_not_silu():
    x = torch.tensor([[1.0], [3.0], [8.0]])
    assert (Dice(1)(x) - F.silu(x)).abs().max() > 0.1


def test_dice_keeps_full_precision_under_autocast():
    x = torch.tensor([[1000.0], [1000.5], [1001.0], [1001.5]])  # bfloat16 cannot tell them apart
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = Dice(1)(x)
    assert output.dtype == torch.float32
    assert torch.allclose(output, plain_dice(x, 0.0, x.mean(), x.var(correction=0)), rtol=1e-4)


def test_an_mlp_maps_to_its_last_hidden_or_its_output_size():
    x = torch.randn(5, 3)
    assert MLP(3, [8, 6], activation="dice")(x).shape == (5, 6)
    assert MLP(3, [8, 6], output_size=1)(x).shape == (5, 1)
    assert MLP(3, [], output_size=2)(x).shape == (5, 2)
    assert MLP(3, [8, 6], output_size=2).output_size == 2


def test_batch_norm_comes_before_the_activation_and_only_when_asked_for():
    kinds = [type(layer).__name__ for layer in MLP(3, [8], activation="relu", batch_norm=True).layers]
    assert kinds == ["Dropout", "Linear", "BatchNorm1d", "ReLU"]
    assert "BatchNorm1d" not in [type(layer).__name__ for layer in MLP(3, [8]).layers]


def test_an_unknown_activation_is_named_with_the_choices():
    with pytest.raises(UserError, match="'swish'.*dice, relu"):
        MLP(3, [8], activation="swish")
