"""The causal encoder, the slot decoder and target attention."""

import pytest
import torch

from recbole_nif.model.layers.multihead_target_attention import MultiHeadTargetAttention
from recbole_nif.model.layers.row_groups import ROWS_PER_GROUP, RowGroups
from recbole_nif.model.layers.transformer import Attention, CausalEncoder, RelativePositionBias, SlotDecoder


def encoder(seed: int = 0) -> CausalEncoder:
    torch.manual_seed(seed)
    module = CausalEncoder(width=8, length=10, n_layers=2, n_heads=2, dropout=0.0)
    torch.nn.init.normal_(module.position.bias)
    return module


def decoder() -> SlotDecoder:
    torch.manual_seed(1)
    return SlotDecoder(width=8, n_layers=2, n_heads=2, dropout=0.0)


def test_attention_equals_the_formula_by_hand():
    torch.manual_seed(0)
    attention = Attention(width=2, n_heads=1)
    for linear in (attention.query, attention.output):
        linear.weight.data.copy_(torch.eye(2))
        linear.bias.data.zero_()
    attention.key_value.weight.data.copy_(torch.cat([torch.eye(2), torch.eye(2)]))
    attention.key_value.bias.data.zero_()
    events = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    result = attention(
        torch.tensor([[[1.0, 1.0]]]), attention.keys_values(events), torch.ones(1, 1, 1, 2).bool()
    )
    first, second = torch.tensor([1.0, 2.0]).div(2**0.5).softmax(0)
    assert torch.allclose(result, torch.tensor([[[first, 2 * second]]]))


def test_width_must_divide_into_heads():
    with pytest.raises(ValueError, match="width 8 is not a multiple of n_heads 3"):
        Attention(width=8, n_heads=3)


def test_relative_bias_depends_on_the_distance_alone_and_hides_the_future():
    bias = RelativePositionBias(n_heads=1, length=4)
    bias.bias.data.copy_(torch.tensor([[10.0, 11.0, 12.0, 13.0]]))
    inf = float("inf")
    assert bias(3).tolist() == [[[[10, -inf, -inf], [11, 10, -inf], [12, 11, 10]]]]


def test_an_encoded_event_ignores_later_events():
    module, x = encoder(), torch.randn(3, 10, 8)
    changed = x.clone()
    changed[:, 6:] = torch.randn(3, 4, 8)
    before, after = module(x), module(changed)
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_a_shorter_window_gives_the_same_encoding():
    module, x = encoder(), torch.randn(2, 10, 8)
    assert torch.allclose(module(x)[:, :4], module(x[:, :4]), atol=1e-6)


def test_the_position_bias_is_learned():
    module = encoder()
    module(torch.randn(2, 5, 8)).square().sum().backward()
    assert (module.position.bias.grad[:, :5] != 0).all()


def test_cuts_decoded_together_equal_cuts_decoded_alone():
    module, encoded, slots = decoder(), torch.randn(2, 5, 8), torch.randn(2, 3, 4, 8)
    visible = torch.arange(5) < torch.tensor([[1, 3, 5], [2, 2, 4]]).unsqueeze(-1)
    together = module(slots, module.memory(encoded), visible)
    for window in range(2):
        for cut in range(3):
            memory = module.memory(encoded[window : window + 1, : int(visible[window, cut].sum())])
            alone = module(slots[window, cut].expand(1, 1, 4, 8), memory, torch.ones(1, 1, 1).bool())
            assert torch.allclose(together[window, cut], alone[0, 0], atol=1e-5)


def test_a_slot_ignores_later_slots():
    module, encoded = decoder(), torch.randn(1, 5, 8)
    slots, visible = torch.randn(1, 1, 4, 8), torch.ones(1, 1, 5).bool()
    changed = slots.clone()
    changed[:, :, 2:] = torch.randn(2, 8)
    before, after = (module(x, module.memory(encoded), visible) for x in (slots, changed))
    assert torch.allclose(before[:, :, :2], after[:, :, :2], atol=1e-6)
    assert not torch.allclose(before[:, :, 2:], after[:, :, 2:], atol=1e-3)


def test_target_attention_gives_zeros_without_visible_events_and_no_nan_gradient():
    torch.manual_seed(2)
    attention = MultiHeadTargetAttention(width=8, n_heads=2, length=5)
    target, events = torch.randn(2, 1, 8, requires_grad=True), torch.randn(2, 5, 8, requires_grad=True)
    visible = torch.zeros(2, 1, 5, dtype=torch.bool)
    visible[1, 0, :3] = True
    result = attention(target, attention.keys_values(events), visible)
    result.sum().backward()
    assert torch.equal(result[0], torch.zeros(1, 8)) and result[1].abs().sum() > 0
    assert target.grad.isfinite().all() and events.grad.isfinite().all()
    assert (events.grad[0] == 0).all() and (events.grad[1, 3:] == 0).all()


def test_row_groups_attend_as_rows_with_windows_of_their_own():
    torch.manual_seed(3)
    attention = MultiHeadTargetAttention(width=8, n_heads=2, length=5)
    window = torch.tensor([2, 0, 2, 2, 1] + [0] * (ROWS_PER_GROUP + 3))
    target, visible = torch.randn(len(window), 8), torch.rand(len(window), 5) < 0.7
    memory = attention.keys_values(torch.randn(4, 5, 8))
    groups = RowGroups.of(window, 4)
    shared = attention(groups.spread(target), memory[groups.window], groups.spread(visible))
    alone = attention(target.unsqueeze(1), memory[window], visible.unsqueeze(1))
    assert torch.allclose(groups.collect(shared), alone.squeeze(1), atol=1e-6)


def test_target_attention_learns_to_prefer_the_latest_visible_event():
    attention = MultiHeadTargetAttention(width=8, n_heads=2, length=5)
    attention.recency.data[:, 0] = 50.0
    events, target = torch.randn(1, 5, 8), torch.randn(1, 2, 8)
    memory, visible = attention.keys_values(events), torch.arange(5) < torch.tensor([[[2], [5]]])
    latest = memory[:, 1, :, [1, 4]].permute(0, 2, 1, 3).flatten(2)  # values of events 1 and 4, [1, 2, d]
    assert torch.allclose(attention(target, memory, visible), attention.output(latest), atol=1e-5)


def test_gradients_are_the_same_at_every_call_with_several_threads():
    torch.manual_seed(0)
    attention = MultiHeadTargetAttention(width=16, n_heads=2, length=50)
    targets, visible = torch.randn(300, 8, 16), torch.arange(50) < torch.randint(0, 51, (300, 8, 1))
    memory = attention.keys_values(torch.randn(300, 50, 16)).detach()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        gradients = [
            torch.autograd.grad(attention(targets, memory, visible).pow(2).sum(), attention.recency)[0]
            for _ in range(10)
        ]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
