"""Interest diversity and evolution velocity against values worked out by hand."""

import math

import pytest
import torch

from recbole_nif.model.amen.regularizers import LOGDET_RIDGE, FlowRegularizer, acceleration
from recbole_nif.model.layers import sphere

EAST, NORTH, UP = torch.eye(3)
ALL = torch.ones(1, 3, dtype=torch.bool)


def flow_of(*vectors: torch.Tensor) -> torch.Tensor:
    return torch.stack(vectors).unsqueeze(0)


def on_circle(*degrees: float) -> list[torch.Tensor]:
    angles = [math.radians(angle) for angle in degrees]
    return [torch.tensor([math.cos(angle), math.sin(angle), 0.0]) for angle in angles]


def diversity(flow: torch.Tensor, anchor: torch.Tensor = UP, **options) -> float:
    mask = torch.ones(flow.shape[:2], dtype=torch.bool)
    return FlowRegularizer(**options).diversity(flow, anchor.unsqueeze(0), mask).item()


def velocity(flow, targets=None, mask=None, anchor=UP, **options) -> float:
    mask = torch.ones(flow.shape[:2], dtype=torch.bool) if mask is None else mask
    targets = flow if targets is None else targets
    return FlowRegularizer(**options).velocity(flow, anchor.unsqueeze(0), mask, targets).item()


def test_cosine_diversity_punishes_only_pairs_above_the_margin():
    flow = flow_of(*on_circle(0, 0, 90))  # cosines 1, 0, 0
    assert diversity(flow, form="cosine", delta=0.5) == pytest.approx(0.5**2 / 3)
    assert diversity(flow_of(EAST, NORTH, UP), form="cosine", delta=0.5) == 0


def test_cosine_logdet_is_zero_for_orthonormal_vectors_and_large_for_equal_ones():
    assert diversity(flow_of(EAST, NORTH, UP), form="cosine", div_form="logdet") == pytest.approx(
        -math.log(1 + LOGDET_RIDGE), abs=1e-6
    )
    equal = diversity(flow_of(EAST, EAST), form="cosine", div_form="logdet")
    assert equal == pytest.approx(-0.5 * math.log(LOGDET_RIDGE * (2 + LOGDET_RIDGE)), rel=1e-3)


def test_geodesic_diversity_is_zero_for_orthogonal_tangents_whatever_they_share():
    tilted = [sphere.exp(UP, 0.3 * direction) for direction in (EAST, NORTH)]
    assert tilted[0] @ tilted[1] > 0.9  # a cosine form would punish what they share with the anchor
    assert diversity(flow_of(*tilted)) == pytest.approx(0, abs=1e-9)


def test_geodesic_diversity_of_equal_tangents_is_one_and_of_opposite_ones_zero():
    here, there = sphere.exp(UP, 0.3 * EAST), sphere.exp(UP, -0.3 * EAST)
    assert diversity(flow_of(here, here)) == pytest.approx(1, rel=1e-4)
    assert diversity(flow_of(here, there)) == 0
    assert diversity(flow_of(here, here), delta_t=0.25) == pytest.approx(0.75**2, rel=1e-4)


def test_directions_below_the_noise_angle_lose_weight():
    near, far = sphere.exp(UP, 0.02 * EAST), sphere.exp(UP, 0.3 * EAST)
    assert diversity(flow_of(near, far), theta_0=0.1) == pytest.approx(0.2, rel=1e-3)


def test_mean_anchor_is_the_middle_of_the_real_flow_vectors():
    flow = flow_of(*on_circle(30, 150), UP)
    mask = torch.tensor([[True, True, False]])
    at_mean = FlowRegularizer(anchor="mean").diversity(flow, EAST.unsqueeze(0), mask)
    at_north, at_east = (FlowRegularizer().diversity(flow, c.unsqueeze(0), mask) for c in (NORTH, EAST))
    assert torch.allclose(at_mean, at_north, atol=1e-6)
    assert not torch.allclose(at_mean, at_east, atol=0.1)


def test_tangent_logdet_prefers_spread_directions():
    spread = flow_of(*(sphere.exp(UP, 0.3 * direction) for direction in (EAST, NORTH)))
    close = flow_of(*(sphere.exp(UP, 0.3 * direction) for direction in on_circle(0, 10)))
    spread, close = (diversity(flow, div_form="tangent_logdet") for flow in (spread, close))
    assert spread == pytest.approx(-math.log(1 + LOGDET_RIDGE), abs=1e-5) and close > 1


def test_cosine_velocity_is_the_mean_of_one_minus_cosine():
    flow = flow_of(*on_circle(0, 60, 150))
    assert velocity(flow, form="cosine") == pytest.approx((0.5 + 1) / 2, abs=1e-6)


def test_cosine_velocity_matches_the_targets_where_both_exist():
    flow, targets = flow_of(*on_circle(0, 60, 150)), flow_of(*on_circle(0, 90, 90))
    options = {"form": "cosine", "vel_target": "match"}
    assert velocity(flow, targets, ALL, **options) == pytest.approx((0.5**2 + 1) / 2, abs=1e-6)
    mask = torch.tensor([[True, True, False]])
    assert velocity(flow, targets, mask, **options) == pytest.approx(0.5**2, abs=1e-6)


def test_geodesic_energy_is_the_mean_squared_speed_from_the_anchor_on():
    anchor, *flow = on_circle(0, 30, 90)
    expected = (math.radians(30) ** 2 + math.radians(60) ** 2) / 2
    assert velocity(flow_of(*flow), anchor=anchor, beta_acc=0) == pytest.approx(expected, rel=1e-5)


def test_geodesic_velocity_matches_target_distances():
    anchor, *flow = on_circle(0, 30, 90)
    targets = flow_of(*on_circle(0, 20))
    result = velocity(flow_of(*flow), targets, anchor=anchor, vel_target="match", beta_acc=0)
    assert result == pytest.approx(math.radians(40) ** 2, rel=1e-4)


def test_acceleration_on_a_circle_is_the_change_of_speed():
    path = flow_of(*on_circle(0, 10, 30))
    assert acceleration(path).item() == pytest.approx(math.radians(10) ** 2, rel=1e-4)


def test_acceleration_is_zero_on_a_geodesic_of_constant_speed():
    generator = torch.Generator().manual_seed(0)
    start = sphere.unit(torch.randn(1, 8, generator=generator, dtype=torch.double))
    step = 0.4 * sphere.unit(
        sphere.project_tangent(start, torch.randn(1, 8, generator=generator, dtype=torch.double))
    )
    path = torch.stack([sphere.exp(start, k * step) for k in range(5)], dim=1)
    assert acceleration(path).item() < 1e-10


@pytest.mark.parametrize("form", ["cosine", "geodesic"])
@pytest.mark.parametrize("div_form", ["hinge", "logdet"])
@pytest.mark.parametrize("place", [EAST, -EAST], ids=["at the anchor", "opposite the anchor"])
def test_equal_flow_vectors_give_finite_losses_and_gradients(form, div_form, place):
    flow = place.expand(1, 3, 3).clone().requires_grad_()
    anchor = EAST.unsqueeze(0).clone().requires_grad_()
    regularizer = FlowRegularizer(form=form, div_form=div_form)
    loss = regularizer.diversity(flow, anchor, ALL) + regularizer.velocity(flow, anchor, ALL, flow.detach())
    loss.sum().backward()
    assert loss.isfinite().all() and flow.grad.isfinite().all()
    assert anchor.grad is None or anchor.grad.isfinite().all()


@pytest.mark.parametrize("form", ["cosine", "geodesic"])
@pytest.mark.parametrize("vel_target", ["smooth", "match"])
def test_a_flow_of_one_vector_has_no_pairs(form, vel_target):
    flow = flow_of(EAST)
    assert diversity(flow, form=form) == 0
    distance = velocity(flow, form=form, vel_target=vel_target)
    smooth_step = (math.pi / 2) ** 2 if (form, vel_target) == ("geodesic", "smooth") else 0
    assert distance == pytest.approx(smooth_step, rel=1e-4)
