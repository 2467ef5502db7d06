"""Sphere geometry: identities in double precision, and finite gradients where the formulas are singular."""

import math

import pytest
import torch

from recbole_nif.model.layers import sphere


def random_unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return sphere.unit(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double))


def random_pair() -> tuple[torch.Tensor, torch.Tensor]:
    return random_unit(50, 8, seed=1), random_unit(50, 8, seed=2)


def test_distance_of_known_angles():
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert sphere.distance(east, north) == pytest.approx(math.pi / 2)
    assert sphere.distance(east, -east) == pytest.approx(math.pi, abs=1e-5)
    assert sphere.distance(east, east) == pytest.approx(0, abs=1e-5)
    near = torch.tensor([math.cos(1e-3), math.sin(1e-3)])
    assert sphere.distance(east, near) == pytest.approx(1e-3, rel=1e-4)  # arccos gives 0.00097656 here


def test_log_is_tangent_and_as_long_as_the_distance():
    a, b = random_pair()
    tangent = sphere.log(a, b)
    assert (tangent * a).sum(-1).abs().max() < 1e-12
    assert torch.allclose(tangent.norm(dim=-1), sphere.distance(a, b), atol=1e-9)


def test_exp_inverts_log():
    a, b = random_pair()
    assert torch.allclose(sphere.exp(a, sphere.log(a, b)), b, atol=1e-9)
    assert torch.equal(sphere.exp(a, torch.zeros_like(a)).round(decimals=9), a.round(decimals=9))


def test_projection_removes_exactly_the_radial_part():
    a, w = random_pair()
    tangent = sphere.project_tangent(a, w + 3 * a)
    assert (tangent * a).sum(-1).abs().max() < 1e-12
    assert torch.allclose(tangent, sphere.project_tangent(a, w))


def test_parallel_transport_keeps_length_and_angles_and_ends_tangent():
    a, b = random_pair()
    v, w = (sphere.project_tangent(a, random_unit(50, 8, seed=seed)) for seed in (3, 4))
    moved_v, moved_w = sphere.parallel_transport(a, b, v), sphere.parallel_transport(a, b, w)
    assert (moved_w * b).sum(-1).abs().max() < 1e-12
    assert torch.allclose((moved_v * moved_w).sum(-1), (v * w).sum(-1))


def test_transport_carries_the_direction_of_travel_along():
    a, b = random_pair()
    arriving = sphere.parallel_transport(a, b, sphere.log(a, b))
    assert torch.allclose(arriving, -sphere.log(b, a), atol=1e-9)


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["identical", "antipodal"])
def test_everything_is_finite_with_finite_gradients_at_singular_points(sign):
    a = sphere.unit(torch.randn(4, 8, generator=torch.Generator().manual_seed(5))).requires_grad_()
    b = (sign * a.detach()).requires_grad_()
    values = [
        sphere.distance(a, b),
        sphere.log(a, b),
        sphere.exp(a, sphere.log(a, b)),
        sphere.parallel_transport(a, b, sphere.log(a, b)),
        sphere.unit(a - sign * b),
    ]
    sum(value.sum() for value in values).backward()
    assert all(value.isfinite().all() for value in values)
    assert a.grad.isfinite().all() and b.grad.isfinite().all()


def test_half_precision_inputs_are_computed_in_float32_even_under_autocast():
    a, b = (x.to(torch.bfloat16) for x in random_pair())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert sphere.distance(a, b).dtype == torch.float32
        assert sphere.log(a.float(), b.float()).dtype == torch.float32
