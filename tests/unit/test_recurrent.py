"""GRU and attentional GRUs: the written-out gradients, padding, and torch's own GRU."""

import pytest
import torch
from torch.func import functional_call

from recbole_nif.errors import UserError
from recbole_nif.model.layers.embedding import pick
from recbole_nif.model.layers.recurrent import ATTENTIONAL, GRU, AttentionalGRU, Steps, recur

B, L, D, H = 4, 5, 3, 2
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 1, 0, 0]]).bool()
MASKS = {
    "padded": MASK,
    "full": torch.ones(B, L).bool(),
    "one step": torch.tensor([[True], [False], [True], [True]]),
    "all empty": torch.zeros(B, 2).bool(),
}


def make(kind: str):
    torch.manual_seed(1)
    layer = GRU(D, H) if kind == "GRU" else AttentionalGRU(D, H, kind)
    return layer.double()


def inputs(kind: str, mask: torch.Tensor) -> list[torch.Tensor]:
    """What the layer of ``kind`` reads before the mask."""
    torch.manual_seed(0)
    x = torch.randn(*mask.shape, D, dtype=torch.double, requires_grad=True)
    a = torch.rand(mask.shape, dtype=torch.double, requires_grad=True)
    return [x] if kind == "GRU" else [x, a]


def step_by_step(layer, x, a, mask):
    """Equations of the module's docstring, one row and one step at a time -> states [B, L, H]."""
    kind = getattr(layer, "kind", "GRU")
    all_states = []
    for row in range(len(x)):
        h = torch.zeros(H, dtype=x.dtype)
        states = []
        for t in range(x.shape[1]):
            if mask[row, t]:
                given = x[row, t] * a[row, t] if kind == "AIGRU" else x[row, t]
                w, v = layer.input(given).split(H), layer.recurrent(h).split(H)
                r = torch.sigmoid(w[0] + v[0])
                n = torch.tanh(w[-1] + r * v[-1])
                u = a[row, t] if kind == "AGRU" else torch.sigmoid(w[1] + v[1])
                u = u * a[row, t] if kind == "AUGRU" else u
                h = (1 - u) * h + u * n
            states.append(h)
        all_states.append(torch.stack(states))
    return torch.stack(all_states)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize("kind", ["GRU", *ATTENTIONAL])
class TestEveryKind:
    def test_equals_its_equations_step_by_step(self, kind, mask):
        layer, given = make(kind), inputs(kind, mask)
        expected = step_by_step(layer, given[0], given[-1], mask)
        if kind == "GRU":
            assert torch.allclose(layer(*given, mask)[mask], expected[mask], atol=1e-12)
        else:
            assert torch.allclose(layer(*given, mask), expected[:, -1], atol=1e-12)

    def test_has_the_gradients_of_finite_differences(self, kind, mask):
        layer, given = make(kind), inputs(kind, mask)
        names = [name for name, _ in layer.named_parameters()]
        values = [value.detach().clone().requires_grad_() for value in layer.parameters()]

        def run(*tensors):
            parameters = dict(zip(names, tensors[len(given) :], strict=True))
            return functional_call(layer, parameters, (*tensors[: len(given)], mask))

        assert torch.autograd.gradcheck(run, (*given, *values))


WINDOW = torch.tensor([1, 0, 1, 1])  # of three windows, the last of which nobody reads


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize("kind", ATTENTIONAL)
class TestSequencesThatShareWindows:
    def windows(self, mask):
        torch.manual_seed(2)
        return torch.randn(3, mask.shape[1], D, dtype=torch.double, requires_grad=True)

    def test_equal_sequences_with_a_copy_of_their_own(self, kind, mask):
        layer, x, a = make(kind), self.windows(mask), inputs(kind, mask)[1]
        assert torch.allclose(layer(x, a, mask, WINDOW), layer(x[WINDOW], a, mask), atol=1e-12)

    def test_have_the_gradients_of_finite_differences(self, kind, mask):
        layer, x, a = make(kind), self.windows(mask), inputs(kind, mask)[1]
        names = [name for name, _ in layer.named_parameters()]
        values = [value.detach().clone().requires_grad_() for value in layer.parameters()]

        def run(x, a, *parameters):
            return functional_call(layer, dict(zip(names, parameters, strict=True)), (x, a, mask, WINDOW))

        assert torch.autograd.gradcheck(run, (x, a, *values))


def test_a_gru_is_torchs_whose_update_gate_says_what_to_keep():
    ours, theirs = make("GRU"), torch.nn.GRU(D, H, batch_first=True).double()
    sign = torch.tensor([1.0, -1.0, 1.0], dtype=torch.double).repeat_interleave(H)  # of r, u, n
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.input.weight * sign[:, None])
        theirs.weight_hh_l0.copy_(ours.recurrent.weight * sign[:, None])
        theirs.bias_ih_l0.copy_(ours.input.bias * sign)
        theirs.bias_hh_l0.zero_()
    (x,) = inputs("GRU", MASKS["full"])
    assert torch.allclose(ours(x, MASKS["full"]), theirs(x)[0], atol=1e-12)


def test_full_attention_makes_augru_and_aigru_a_gru():
    mask = MASKS["full"]
    (x,) = inputs("GRU", mask)
    gru = make("GRU")
    for kind in ("AUGRU", "AIGRU"):
        layer = make(kind)
        layer.load_state_dict(gru.state_dict())
        assert torch.allclose(layer(x, torch.ones_like(mask).double(), mask), gru(x, mask)[:, -1])


def test_no_attention_keeps_the_zero_state_of_augru_and_agru():
    x, a = inputs("AUGRU", MASK)
    for kind in ("AUGRU", "AGRU"):
        assert (make(kind)(x, torch.zeros_like(a), MASK) == 0).all()


@pytest.mark.parametrize("kind", ATTENTIONAL)
def test_padding_may_stand_anywhere(kind):
    layer = make(kind)
    x, a = inputs(kind, MASK)
    moved_x, moved_a, moved_mask = torch.zeros_like(x), torch.zeros_like(a), torch.zeros_like(MASK)
    moved_x[3, [1, 4]], moved_a[3, [1, 4]], moved_mask[3, [1, 4]] = x[3, [0, 2]], a[3, [0, 2]], True
    assert torch.allclose(layer(moved_x, moved_a, moved_mask)[3], layer(x, a, MASK)[3])


def test_what_stands_in_padding_does_not_matter():
    x, a = inputs("AUGRU", MASK)
    noise = torch.where(MASK.unsqueeze(-1), x, torch.full_like(x, 7.0))
    layer = make("AUGRU")
    assert torch.equal(layer(noise, torch.where(MASK, a, 3.0), MASK), layer(x, a, MASK))


def test_skipping_padding_changes_nothing():
    states = {}
    for skip in (True, False):
        steps = Steps.of(MASK, skip_padding=skip)
        layer, (x,) = make("GRU"), inputs("GRU", MASK)
        packed = recur(
            layer.input(steps.pack(x)), layer.recurrent.weight, steps.pack(MASK.double()), steps.counts
        )
        gradients = torch.autograd.grad(steps.final(packed).square().sum(), [x, *layer.parameters()])
        states[skip] = [steps.final(packed), *gradients]
    assert steps.counts == [B] * L
    for one, other in zip(states[True], states[False], strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_steps_go_by_time_with_the_longest_sequence_first():
    steps = Steps.of(MASK, skip_padding=True)
    # row 0 has 5 steps, row 3 three (one of them waits), row 1 two, row 2 none
    assert steps.counts == [3, 3, 2, 1, 1]
    assert steps.positions.tolist() == [0, 15, 5, 1, 16, 6, 2, 17, 3, 4]
    assert (steps.last * steps.nonempty).tolist() == [9, 5, 0, 7]
    values = torch.arange(10.0).unsqueeze(1)
    assert steps.final(values).flatten().tolist() == [9, 5, 0, 7]
    assert steps.pack(steps.unpack(values)).equal(values)


@pytest.mark.parametrize("kind", ATTENTIONAL)
def test_under_autocast_the_recurrence_is_computed_in_float32(kind):
    layer = make(kind).float()
    x, a = (t.detach().float().requires_grad_() for t in inputs(kind, MASK))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = layer(x, a, MASK)
        half.sum().backward()
    assert half.dtype == torch.float32
    assert torch.allclose(half, layer(x, a, MASK), atol=0.02)
    assert x.grad.isfinite().all() and a.grad.isfinite().all()


def test_the_weights_of_agru_have_no_update_gate():
    shapes = {kind: tuple(make(kind).recurrent.weight.shape) for kind in ATTENTIONAL}
    assert shapes == {"AUGRU": (3 * H, H), "AGRU": (2 * H, H), "AIGRU": (3 * H, H)}


def test_an_unknown_kind_is_told_in_one_sentence():
    with pytest.raises(UserError, match="no gru_type 'LSTM'; choose one of AUGRU, AGRU, AIGRU"):
        AttentionalGRU(D, H, "LSTM")


def test_picked_rows_have_the_gradient_of_indexing():
    x = torch.randn(6, 2, dtype=torch.double, requires_grad=True)
    places = torch.tensor([4, 0, 5])
    assert torch.equal(pick(x, places), x[places])
    assert torch.autograd.gradcheck(lambda x: pick(x, places), (x,))


def test_two_passes_before_one_backward_do_not_mix():
    layer = make("AUGRU")
    x, a = inputs("AUGRU", MASK)
    first, second = (layer(x, a, mask).sum() for mask in (MASK, MASKS["full"]))
    together = torch.autograd.grad(first + second, [x, a])
    apart = [torch.autograd.grad(layer(x, a, mask).sum(), [x, a]) for mask in (MASK, MASKS["full"])]
    for total, *parts in zip(together, *apart, strict=True):
        assert torch.allclose(total, sum(parts))
