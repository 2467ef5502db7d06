"""The cross network against numbers worked out by hand."""

import torch

from recbole_nif.model.layers.cross import CrossNetwork
from recbole_nif.model.layers.embedding import initialize


def test_two_layers_of_a_cross_network_equal_a_computation_by_hand():
    network = CrossNetwork(2, 2)
    first, second = network.layers
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
        first.bias.copy_(torch.tensor([1.0, 0.0]))
        second.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        second.bias.copy_(torch.tensor([0.0, -1.0]))
    # x_0 = (2, 3): W x + b = (9, 3), x_1 = (2 * 9 + 2, 3 * 3 + 3) = (20, 12)
    # W x_1 + b = (12, 19), x_2 = (2 * 12 + 20, 3 * 19 + 12) = (44, 69)
    assert network(torch.tensor([[2.0, 3.0]])).tolist() == [[44.0, 69.0]]


def test_a_low_rank_layer_is_a_full_one_with_the_product_of_its_factors():
    low, full = CrossNetwork(5, 1, rank=2), CrossNetwork(5, 1)
    with torch.no_grad():
        down, up = low.layers[0]
        full.layers[0].weight.copy_(up.weight @ down.weight)
        full.layers[0].bias.copy_(up.bias)
    x = torch.randn(4, 5)
    assert torch.allclose(low(x), full(x), atol=1e-6)
    assert sum(parameter.numel() for parameter in low.parameters()) == 2 * 5 * 2 + 5


def test_without_layers_the_input_passes_through():
    x = torch.randn(3, 4)
    assert CrossNetwork(4, 0)(x) is x
    assert not list(CrossNetwork(4, 0).parameters())


def test_an_initialized_network_is_nearly_the_identity():
    torch.manual_seed(0)
    network, x = CrossNetwork(64, 3, rank=16).apply(initialize), torch.randn(100, 64)
    change = (network(x) - x).norm() / x.norm()
    assert 0.01 < change < 0.5
    assert (CrossNetwork(64, 3).apply(initialize)(x) - x).norm() / x.norm() < 0.5
