"""The factorization machine: a value by hand."""

import pytest
import torch

from recbole_nif.model.layers.factorization_machine import FactorizationMachine


def test_pairs_of_fields_and_the_first_order_add_up():
    machine = FactorizationMachine(width=2)
    with torch.no_grad():
        machine.first_order.weight.copy_(torch.tensor([[1.0, 10.0]]))
        machine.first_order.bias.fill_(0.5)
    a, b, c = [1.0, 2.0], [3.0, -1.0], [0.5, 4.0]
    pairs = (1 * 3 - 2 * 1) + (1 * 0.5 + 2 * 4) + (3 * 0.5 - 1 * 4)
    first = (1 + 3 + 0.5) + 10 * (2 - 1 + 4)
    assert machine(torch.tensor([a + b + c])).tolist() == [pytest.approx(pairs + first + 0.5)]
