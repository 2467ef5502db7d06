"""What the benchmarks make of their figures; nothing is timed here."""

import torch
from torch.nn import functional as F

from tests.benchmarks.floor import Products, floor_of
from tests.benchmarks.run import BENCHMARKS, TARGETS, slower, verdicts


def table(*rows):
    return {"title": "", "header": ["training", "rows/s", "step, ms"], "rows": list(rows)}


def test_a_target_is_reached_not_reached_or_missing(monkeypatch):
    floor = {"header": ["training", "share, %"], "rows": [["NIFDIN", 50.0], ["AMEN stage 2", "—"]]}
    shares = {row[0]: row[2:] for row in verdicts({"floor": floor})}
    assert shares == {
        "share of the floor, NIFDIN": [50.0, "reached"],
        "share of the floor, AMEN stage 2": ["—", "missing"],
    }
    floor["rows"][0][1] = 49.9
    assert verdicts({"floor": floor})[0][-1] == "not reached"


def test_every_target_names_a_benchmark():
    assert {target.benchmark for target in TARGETS} <= set(BENCHMARKS)


def test_what_got_slower_by_more_than_a_tenth_is_listed_the_worst_first():
    old = {"din": table(["a", 100.0, 10.0], ["b", 100.0, 10.0], ["gone", 1.0, 1.0])}
    new = {"din": table(["a", 95.0, 12.0], ["b", 50.0, 5.0], ["new", 1.0, 1.0]), "floor": table()}
    assert slower(new, old) == [
        ["din", "b", "rows/s", 100.0, 50.0, 2.0],
        ["din", "a", "step, ms", 10.0, 12.0, 1.2],
    ]


def test_the_products_of_a_step_are_counted_with_those_of_its_gradients():
    x, w = torch.randn(5, 3, requires_grad=True), torch.randn(3, 2, requires_grad=True)
    with Products() as products:
        (x @ w).sum().backward()
    assert products.count == {((5, 3), (3, 2)): 1, ((3, 5), (5, 2)): 1, ((5, 2), (2, 3)): 1}
    seconds, flops = floor_of(products.count)
    assert seconds > 0 and flops == 3 * 2 * 5 * 3 * 2


def test_fused_attention_counts_as_its_products_one_done_twice_and_their_gradients():
    q, k, v = (torch.randn(2, 4, n, 8, requires_grad=True) for n in (5, 7, 7))
    with Products() as products:
        F.scaled_dot_product_attention(q, k, v).sum().backward()
    assert sum(products.count.values()) == 2 + 1 + 4
    assert floor_of(products.count)[1] == 7 * 2 * (2 * 4) * 5 * 7 * 8
