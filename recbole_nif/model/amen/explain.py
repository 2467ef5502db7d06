"""What AMEN can tell of a score: its three attentions over past events, and the flow with its reader."""

from torch import Tensor, nn

from recbole_nif.model.amen.state import AMENState, Snapshot, Target
from recbole_nif.model.explanation import Attention, Explanation, Flow
from recbole_nif.model.layers.row_groups import RowGroups
from recbole_nif.model.layers.sphere import unit


def explain(model: nn.Module, state: AMENState, target: Target) -> Explanation:
    """The explanation of candidates ``target`` [B], one for each of ``state`` [B]; ``model``: an AMEN."""
    weight = model.history_attention.weights(target.features, state.history, state.mask)
    attentions = [Attention("attention", "history", weight, state.mask.sum(1))]
    snapshot = state.moveline
    spaces = (
        ("scene space", model.scene_space, target.scene, snapshot.scene_memory),
        ("item space", model.item_space, target.item, snapshot.item_memory),
    )
    for name, space, query, memory in spaces:
        if space is not None:
            weight = _over_events(space, query, memory, snapshot)
            attentions.append(Attention(name, "moveline", weight, snapshot.visible.sum(1)))
    return Explanation(tuple(attentions), flow=_flow(model, snapshot, target))


def _over_events(space: nn.Module, query: Tensor, memory: Tensor, snapshot: Snapshot) -> Tensor:
    """[B, n]"""
    groups = RowGroups.of(snapshot.window, snapshot.n_windows)
    return space.weights(query, snapshot.gap, memory, groups.spread(snapshot.visible), groups)


def _flow(model: nn.Module, snapshot: Snapshot, target: Target) -> Flow | None:
    """The flow before alignment, in the space of stage 1, where the items are that it was trained to meet."""
    if snapshot.flow is None:
        return None
    flow, log_gate = unit(snapshot.flow), None
    aligned = flow
    if model.alignment is not None:
        aligned, log_gate = model.alignment(flow, target.vector)
    weight = model.flow_attention.weights(aligned, target.vector, log_gate)
    return Flow(flow, model.generator.item_table(), weight)
