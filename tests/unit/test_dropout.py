"""Dropout by random bytes."""

import pytest
import torch

from recbole_nif.model.layers.dropout import Dropout


@pytest.mark.parametrize(("p", "dropped"), [(0.1, 26 / 256), (0.3, 77 / 256), (0.5, 0.5)])
def test_the_rounded_share_is_dropped_and_the_rest_scaled_so_that_the_mean_stays(p, dropped):
    torch.manual_seed(0)
    y = Dropout(p)(torch.full((1001, 999), 2.0))
    share = (y == 0).double().mean()
    assert abs(share - dropped) < 4 * (dropped * (1 - dropped) / y.numel()) ** 0.5
    assert torch.allclose(y[y != 0], torch.tensor(2 / (1 - dropped)))


def test_elements_are_dropped_independently_of_their_neighbors():
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(8, 100_000)) != 0).double()
    for step in (1, 2, 4, 8):
        both = (kept.flatten()[step:] * kept.flatten()[:-step]).mean()
        assert abs(both - 0.25) < 0.003


def test_one_seed_gives_one_mask_and_the_gradient_has_it_too():
    x = torch.randn(3, 5, requires_grad=True)
    torch.manual_seed(7)
    y = Dropout(0.3)(x)
    torch.manual_seed(7)
    assert torch.equal(Dropout(0.3)(x), y)
    y.sum().backward()
    assert torch.allclose(x.grad * x, y)


@pytest.mark.parametrize(("p", "expected"), [(0.0, 1.0), (1.0, 0.0)])
def test_nothing_and_everything_can_be_dropped(p, expected):
    assert torch.equal(Dropout(p)(torch.ones(4, 4)), torch.full((4, 4), expected))


def test_evaluation_changes_nothing():
    x = torch.randn(3, 5)
    assert torch.equal(Dropout(0.3).eval()(x), x)
