"""Stage 1: the interest flow generator G_phi (reconstruction, from the abstracts of arXiv 2510.11317).

It reads a user's moveline up to a cut and predicts the flow: K vectors in item space for the next K
positive events. The flow stays continuous: no codebook and no softmax over item ids.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_nif.data.fields import (
    CUT_GAP,
    CUT_MASK,
    EXPOSED_ITEM,
    EXPOSED_LABEL,
    EXPOSED_MASK,
    EXPOSED_SCENE,
    GAP_BUCKETS,
    MOVELINE_BEHAVIOR,
    MOVELINE_CUT,
    MOVELINE_ITEM,
    MOVELINE_ROW,
    NEGATIVE_ITEM,
    NEGATIVE_MASK,
    NEGATIVE_SCENE,
    ROW_GAP,
    TARGET_ITEM,
    TARGET_MASK,
    TARGET_SCENE,
)
from recbole_nif.model.amen.losses import FlowClicks, FlowInfoNCE
from recbole_nif.model.amen.moveline import MovelineEncoder, Windows, visible_prefix
from recbole_nif.model.amen.regularizers import FlowRegularizer
from recbole_nif.model.item_rows import ItemRows
from recbole_nif.model.layers.embedding import initialize
from recbole_nif.model.layers.row_groups import RowGroups
from recbole_nif.model.layers.sphere import unit
from recbole_nif.model.layers.transformer import SlotDecoder

CUTS_PER_GROUP = 5  # cuts of one window that are decoded together; more fill the last group worse


class FlowStart(nn.Module):
    """Decoder inputs: learned slot queries q_k, and what the row adds: its last event and its own gap.

    h_last reaches the slots directly, not only through attention: it is what predicts the next item best.
    """

    def __init__(self, *, flow_len: int, width: int):
        super().__init__()
        self.queries = nn.Parameter(torch.empty(flow_len, width))
        self.empty = nn.Parameter(torch.empty(width))  # stands for the past of a user without events
        self.gap = nn.Embedding(GAP_BUCKETS, width)
        self.last = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.queries, std=0.1)
        nn.init.normal_(self.empty, std=0.1)

    def forward(self, last: Tensor, gap: Tensor) -> Tensor:
        """last: [..., d]; gap: [...] int64 -> what the row adds to its slots [..., d]."""
        return self.last(last) + self.gap(gap)


class InterestFlowGenerator(nn.Module):
    """Moveline encoder, flow decoder and their training losses.

    Args:
        moveline: the event tables, encoder and target projection, which stage 2 starts from.
        contrast, regularizer: the losses of stage 1.
        lambda_div, lambda_vel: weights of the two regularizers.
        lambda_click: weight of telling clicked from unclicked rows after the cut.
        item_scene: [n_items] int64, the scene set of each item.
        clicked_behaviors: [n_behaviors] bool, which behavior ids of window events are clicks.
        flow_len: K.
        flow_decoding: "slots" decodes all K in one pass; "autoregressive" feeds each vector to the next.
        width, n_layers, n_heads, dropout: of the decoder.
    """

    def __init__(
        self,
        *,
        moveline: MovelineEncoder,
        contrast: FlowInfoNCE,
        regularizer: FlowRegularizer,
        lambda_div: float,
        lambda_vel: float,
        lambda_click: float = 0.0,
        item_scene: Tensor,
        clicked_behaviors: Tensor,
        flow_len: int,
        flow_decoding: Literal["slots", "autoregressive"],
        width: int,
        n_layers: int,
        n_heads: int,
        dropout: float,
    ):
        super().__init__()
        self.moveline = moveline
        self.contrast = contrast
        self.regularizer = regularizer
        self.lambda_div = lambda_div
        self.lambda_vel = lambda_vel
        self.lambda_click = lambda_click
        self.autoregressive = flow_decoding == "autoregressive"
        self.start = FlowStart(flow_len=flow_len, width=width)
        self.decoder = SlotDecoder(width=width, n_layers=n_layers, n_heads=n_heads, dropout=dropout)
        self.interest = nn.Linear(width, width)  # W_c
        self.click = FlowClicks(width=width) if lambda_click else None
        self.feedback = nn.Linear(width, width) if self.autoregressive else None  # W_y
        self.register_buffer("item_scene", item_scene, persistent=False)
        self.register_buffer("clicked_behaviors", clicked_behaviors, persistent=False)
        self.apply(initialize)

    def encode(self, batch) -> Tensor:
        """The windows of ``batch`` -> [U, n, d]; a position depends only on the events up to it."""
        return self.moveline(Windows.of(batch))

    def item_targets(self, items: Tensor, scenes: Tensor) -> Tensor:
        """Unit target vectors y = norm(W_t [e_I; e_S]) of items and scene sets, both [...] -> [..., d]."""
        return unit(self.moveline.item_vectors(items, scenes))

    def item_table(self) -> Tensor:
        """Unit target vectors of all items in their own scenes -> [n_items, d]."""
        items = torch.arange(len(self.item_scene), device=self.item_scene.device)
        return self.item_targets(items, self.item_scene)

    def add_items(self, rows: ItemRows) -> None:
        """Makes items known that came after training."""
        self.item_scene = torch.cat([self.item_scene, rows.scene])
        self.moveline.add_items(rows)

    def flow(self, batch) -> Tensor:
        """The raw flow F of every row of ``batch`` -> [B, K, d]."""
        windows = Windows.of(batch)
        visible = visible_prefix(batch[MOVELINE_CUT], windows.item.shape[1])
        return self.flow_of(windows, batch[MOVELINE_ROW], visible, batch[ROW_GAP])

    def flow_of(self, windows: Windows, row: Tensor, visible: Tensor, gap: Tensor) -> Tensor:
        """The raw flow of rows that read given events.

        Args:
            windows: U windows of n events.
            row: [B] int64, the window of each row.
            visible: [B, n] bool, the events of its window that a row reads.
            gap: [B] int64, bucket of the time between the row and the last of them.

        Returns:
            [B, K, d]
        """
        encoded = self._with_empty(self.moveline(windows))  # [U, n + 1, d]
        place = torch.arange(1, encoded.shape[1], device=row.device)
        last = encoded[row, (visible * place).amax(1)]  # [B, d]
        groups = RowGroups.of(row, encoded.shape[0])
        memory = [layer.index_select(0, groups.window) for layer in self.decoder.memory(encoded)]
        visible = F.pad(groups.spread(visible), (1, 0), value=True)  # [G, R, n + 1]
        return groups.collect(self._decode(groups.spread(self.start(last, gap)), memory, visible))

    def loss_terms(self, batch) -> dict[str, Tensor]:
        """Weighted losses over all eligible cuts of windows: "nce", "click", "diversity", "velocity"."""
        window, event, valid = grouped_cuts(batch[CUT_MASK], CUTS_PER_GROUP)  # [G], [G, Q], [G, Q]
        cut = (window.unsqueeze(1), event)  # picks [G, Q, ...] out of [U, n, ...]
        mask = batch[TARGET_MASK][cut] & valid.unsqueeze(-1)  # [G, Q, K]
        targets = self.item_targets(batch[TARGET_ITEM][cut], batch[TARGET_SCENE][cut])  # [G, Q, K, d]

        encoded = self._with_empty(self.encode(batch))  # [U, n + 1, d]; the cut after event j ends with j + 1
        last = encoded[window.unsqueeze(1), event + 1]  # [G, Q, d]
        memory = [layer.index_select(0, window) for layer in self.decoder.memory(encoded)]
        visible = visible_prefix(event + 2, encoded.shape[1])  # [G, Q, n + 1]
        flow = self._decode(self.start(last, batch[CUT_GAP][cut]), memory, visible, targets)

        group = window.repeat_interleave(event.shape[1])  # [N], N = G Q
        flow, targets, mask = (part.flatten(0, 1) for part in (unit(flow), targets, mask))  # [N, K, ...]
        with torch.autocast(flow.device.type, enabled=False):
            terms = {"nce": self._contrast_loss(batch, cut, group, flow, targets, mask)}
            if self.click is not None:
                terms["click"] = self.lambda_click * self._click_loss(batch, cut, flow)
            anchor = unit(self.interest(last.float())).flatten(0, 1)  # [N, d]
            return terms | self._regularizers(flow, anchor, targets, mask)

    def _contrast_loss(
        self, batch, cut: tuple, group: Tensor, flow: Tensor, targets: Tensor, mask: Tensor
    ) -> Tensor:
        in_batch, uniform = self.contrast.draw(mask)
        items = batch[TARGET_ITEM][cut].flatten(0, 1)  # [N, K]
        negatives = torch.cat(
            [targets.flatten(0, 1)[in_batch], self.item_targets(uniform, self.item_scene[uniform])]
        )
        clicked = batch[MOVELINE_ITEM] * self.clicked_behaviors[batch[MOVELINE_BEHAVIOR]]  # [U, n]
        hard = hard_mask = None
        if NEGATIVE_ITEM in batch:
            own = batch[NEGATIVE_ITEM][cut].flatten(0, 1)  # [N, H]
            hard = self.item_targets(own, batch[NEGATIVE_SCENE][cut].flatten(0, 1))  # [N, H, d]
            hard_mask = batch[NEGATIVE_MASK][cut].flatten(0, 1).unsqueeze(1) & (
                own.unsqueeze(1) != items.unsqueeze(2)
            )
        return self.contrast(
            flow=flow,
            targets=targets,
            mask=mask,
            negatives=negatives,
            negative_items=torch.cat([items.flatten()[in_batch], uniform]),
            positives=torch.cat([batch[TARGET_ITEM].flatten(1), clicked], dim=1),
            group=group,
            hard_negatives=hard,
            hard_mask=hard_mask,
        )

    def _click_loss(self, batch, cut: tuple, flow: Tensor) -> Tensor:
        items = self.item_targets(batch[EXPOSED_ITEM][cut], batch[EXPOSED_SCENE][cut]).flatten(0, 1)
        label, mask = (batch[name][cut].flatten(0, 1) for name in (EXPOSED_LABEL, EXPOSED_MASK))
        return self.click.loss(flow, items, label, mask)

    def _regularizers(self, flow: Tensor, anchor: Tensor, targets: Tensor, mask: Tensor) -> dict[str, Tensor]:
        if self.regularizer.form == "none":
            return {}
        weight = mask[:, 0] / mask[:, 0].sum().clamp_min(1)  # every eligible cut has a first target
        terms = {}
        if self.lambda_div:
            diversity = self.regularizer.diversity(flow, anchor, mask)
            terms["diversity"] = self.lambda_div * (weight * diversity).sum()
        if self.lambda_vel:
            velocity = self.regularizer.velocity(flow, anchor, mask, targets)
            terms["velocity"] = self.lambda_vel * (weight * velocity).sum()
        return terms

    def reset_sequence_parameters(self) -> None:
        """Start the encoder and decoder afresh; keep and freeze E_I, E_S, W_t, tau and the click logit.

        For cross-fitting: generators that share what flows are measured by predict them in one space.
        """
        events = self.moveline.events
        measures = [events.item, events.scene, self.moveline.target, self.contrast]
        measures += [] if self.click is None else [self.click]
        kept = {part for module in measures for part in module.modules()}
        for module in self.modules():
            if module in kept:
                module.requires_grad_(False)
            elif hasattr(module, "reset_parameters"):
                module.requires_grad_(True)
                module.reset_parameters()
                initialize(module)

    def _with_empty(self, encoded: Tensor) -> Tensor:
        """Encoded windows with the learned empty past before them: [U, n, d] -> [U, n + 1, d]."""
        return torch.cat([self.start.empty.expand(encoded.shape[0], 1, -1), encoded], dim=1)

    def _decode(
        self, start: Tensor, memory: list[Tensor], visible: Tensor, targets: Tensor | None = None
    ) -> Tensor:
        """start: [G, Q, d]; visible: [G, Q, n + 1]; targets: [G, Q, K, d] to be forced -> [G, Q, K, d]."""
        queries, inputs = self.start.queries, start.unsqueeze(2)  # [K, d], [G, Q, 1, d]
        if not self.autoregressive:
            return self.decoder(inputs + queries, memory, visible)
        if targets is not None:
            inputs = torch.cat([inputs, self.feedback(targets[:, :, :-1])], dim=2)
            return self.decoder(inputs + queries, memory, visible)
        for n_slots in range(1, len(queries) + 1):
            flow = self.decoder(inputs + queries[:n_slots], memory, visible)
            inputs = torch.cat([inputs, self.feedback(unit(flow[:, :, -1:]))], dim=2)
        return flow


def grouped_cuts(mask: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Packs the eligible cuts of each window into groups of ``size``.

    mask: [U, n] bool. Returns the window of each group [G], the events its cuts follow [G, size] and which
    of them are real [G, size]. The number of groups is data: this is the one host sync of a step.
    """
    padded = F.pad(mask.int(), (0, -mask.shape[1] % size))
    valid, event = padded.sort(dim=1, descending=True, stable=True)  # eligible cuts first, in order of time
    valid, event = (part.unflatten(1, (-1, size)) for part in (valid.bool(), event))  # [U, n / size, size]
    group = valid[..., 0].nonzero(as_tuple=True)
    return group[0], event[group].clamp_max(mask.shape[1] - 1), valid[group]
