"""AMEN with Next Interest Flow: the click model of stage 2, built around a frozen flow generator.

NIF-AMEN is this project's reconstruction. It follows the abstracts of arXiv 2510.11317 (Next Interest
Flow) and 2411.11502 (AMEN: moveline, homogeneous spaces, TSP); no equation of either paper was seen.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_nif.config_choices import choice
from recbole_nif.data.fields import ADDED, FLOW, MOVELINE_CUT, MOVELINE_ROW, PAIR_OF, ROW_GAP
from recbole_nif.errors import UserError
from recbole_nif.model.amen import tsp
from recbole_nif.model.amen.alignment import (
    FlowTargetAttention,
    SemanticAlignment,
    alignment_loss,
    match_scores,
)
from recbole_nif.model.amen.build import (
    STAGE_2_KEYS,
    build_generator,
    build_history_attention,
    build_moveline,
    build_spaces,
)
from recbole_nif.model.amen.explain import explain
from recbole_nif.model.amen.moveline import Windows, visible_prefix
from recbole_nif.model.amen.state import AMENState, Meeting, Reading, Snapshot, Target
from recbole_nif.model.base import CTRModel
from recbole_nif.model.explanation import Explanation
from recbole_nif.model.item_rows import ItemRows
from recbole_nif.model.layers.cross import CrossNetwork
from recbole_nif.model.layers.embedding import add_rows, initialize, lookup
from recbole_nif.model.layers.mlp import MLP
from recbole_nif.model.layers.row_groups import RowGroups
from recbole_nif.model.layers.sphere import unit

N_LABELS = 3  # values of the label history: padding, 0 and 1
MATCHES = 3  # cosines that match_scores gives


class AMEN(CTRModel):
    """Moveline in scene and item space, the flow of a frozen generator, alignment and TSP.

        z = MLP(Cross([E_u ; E_v ; context ; c^H ; c^S ; v^S * c^S ; c^I ; W_v e_v * c^I ;
                 c^F ; W_e e_v * c^F ; q^F ; y_v])) , without Cross by default
        L = BCE + lambda_tsp L_TSP + lambda_align L_align

    W_e is the target projection W_t of stage 1 on the tables of stage 2. y_v are the item vectors of stage
    1 themselves (``stage1_item_vectors``); with them q^F also holds the cosines of the unaligned flow.
    Both stages of training are the trainer's: it trains ``generator``, then calls
    :meth:`start_finetune`. Every key is explained in props/model/AMEN.yaml.
    """

    needs_clicks = needs_moveline = needs_pairs = True
    needs_semantic_ids = {"flow_targets": "semantic"}  # only with this value
    has_pictures = True
    stages = ("pretrain", "finetune")
    stage_2_keys = STAGE_2_KEYS

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.use_nif, self.init_from_generator = config["use_nif"], config["init_from_generator"]
        self.freeze_generator, self.generator_frozen = config["freeze_generator"], False
        self.pretrained_learning_rate = config["pretrained_learning_rate"]
        self.pretrained: list[nn.Module] = []  # parts that start from stage 1, known after start_finetune
        self.tsp_mode, self.lambda_tsp = choice(config, "tsp_mode"), config["lambda_tsp"]
        self.lambda_align, self.align_temperature = config["lambda_align"], config["align_temperature"]
        self.history_field = config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]
        self.history_label_field = config["LABEL_FIELD"] + config["LIST_SUFFIX"]
        self.register_buffer("item_scene", dataset.item_scene, persistent=False)
        width = config["hidden_size"]

        self.label = nn.Embedding(N_LABELS, self.item_dim) if config["history"] == "all_with_label" else None
        self.history_attention = build_history_attention(config, self.item_dim)
        self.moveline = build_moveline(config, dataset)
        self.scene_space, self.item_space = build_spaces(config, dataset, self.item_dim)
        n_spaces = (self.scene_space is not None) + (self.item_space is not None)
        inputs = self.user_dim + self.context_dim + 2 * self.item_dim + 2 * width * n_spaces
        self.alignment = self.flow_attention = self.item_vectors = None
        self.flow_dropout = config["flow_dropout_prob"]
        if self.use_nif:
            self.flow_attention = FlowTargetAttention(width=width)
            self.alignment = SemanticAlignment(width=width) if config["use_sam"] else None
            inputs += 2 * width + MATCHES
        if choice(config, "stage1_item_vectors") != "none":
            self.item_vectors = nn.Embedding(dataset.item_num, width)
            inputs += width + MATCHES * self.use_nif
        self.cross = CrossNetwork(inputs, config["cross_layers"], config["cross_rank"])
        self.mlp = MLP(
            inputs,
            config["mlp_hidden_size"],
            activation=config["mlp_activation"],
            dropout=config["dropout_prob"],
            output_size=1,
        )
        self.moveline_score = None  # w_r
        if self.tsp_mode in ("shift", "both"):
            n_branches = n_spaces + self.use_nif
            if not n_branches:
                raise UserError(
                    f"tsp_mode {self.tsp_mode} needs one of use_scene_space, use_item_space and use_nif."
                )
            if self.use_nif and config["generator_cross_fit"] == "kfold":
                raise UserError(
                    f"tsp_mode {self.tsp_mode} compares flows of one generator, generator_cross_fit: kfold "
                    "has several: use tsp_mode logit or none."
                )
            self.moveline_score = nn.Linear(n_branches * width, 1, bias=False)
        self.apply(initialize)
        if self.item_vectors is not None:
            nn.init.zeros_(self.item_vectors.weight)
            self.item_vectors.requires_grad_(config["stage1_item_vectors"] == "trainable")
        self.generator = None
        if self.use_nif or self.init_from_generator or self.item_vectors is not None:
            self.generator = build_generator(config, dataset)
        else:
            self.stages = ("finetune",)

    # -- between the stages

    def start_finetune(self) -> None:
        """Cross-stage weight initialization: copy tables, encoder and W_t, fill y_v, freeze the generator."""
        if self.generator is None:
            return
        self.pretrained = [self.generator]
        if self.init_from_generator:
            self.moveline.load_state_dict(self.generator.moveline.state_dict())
            self.pretrained.append(self.moveline)
        if self.item_vectors is not None:
            with torch.no_grad():
                self.item_vectors.weight.copy_(self.generator.item_table())
            self.pretrained.append(self.item_vectors)
        if self.freeze_generator:
            self.generator_frozen = True
            self.generator.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "AMEN":
        """As ``nn.Module.train``, but a frozen generator stays in evaluation mode."""
        super().train(mode)
        if self.generator_frozen:
            self.generator.eval()
        return self

    def param_groups(self, learning_rate: float, weight_decay: float) -> list[dict]:
        """Two groups: new parts, and parts that come from stage 1 with their own learning rate."""
        pretrained = [p for part in self.pretrained for p in part.parameters() if p.requires_grad]
        known = {id(parameter) for parameter in pretrained}
        new = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        groups = [(new, learning_rate), (pretrained, self.pretrained_learning_rate)]
        return [{"params": p, "lr": rate, "weight_decay": weight_decay} for p, rate in groups if p]

    # -- user and candidates

    def encode_user(self, batch) -> AMENState:
        """Embeds user and history, encodes the moveline windows and takes or computes the flow."""
        ids = batch[self.history_field]  # [B, L]
        history = self.embed_items(ids)  # [B, L, item_dim]
        if self.label is not None:
            history = history + lookup(self.label.weight, batch[self.history_label_field])
        windows = Windows.of(batch)
        visible = visible_prefix(batch[MOVELINE_CUT], windows.item.shape[1])
        flow = batch[FLOW].float() if FLOW in batch and self.freeze_generator else None
        snapshot = self.snapshot(windows, batch[MOVELINE_ROW], visible, batch[ROW_GAP], flow)
        return AMENState(self.embed_user(batch), history, ids != 0, snapshot)

    def score(self, state: AMENState, candidates, rows: Tensor | None = None) -> Tensor:
        """Logits [N] of the items and contexts in ``candidates``; ``rows`` [N] names the state of each."""
        target = self._target(candidates[self.item_field])
        (logits,) = self._logits(self._met(state.select(rows), target, self.embed_context(candidates)))
        return logits

    def add_items(self, rows: ItemRows) -> None:
        """New items have features, scenes and codes; their y_v is what stage 1 would have handed over."""
        super().add_items(rows)
        self.item_scene = torch.cat([self.item_scene, rows.scene])
        self.moveline.add_items(rows)
        if self.generator is not None:
            self.generator.add_items(rows)
        if self.item_vectors is not None:
            add_rows(self.item_vectors, self.generator.item_table()[-len(rows) :])

    def explain(self, batch) -> Explanation:
        """Attention over history and moveline, and the flow, for the rows' own items."""
        return explain(self, self.encode_user(batch), self._target(batch[self.item_field]))

    def candidate_scores(self, batch) -> Tensor | None:
        """Every item's largest cosine with a vector of the flow, in the space of stage 1; [B, n_items]."""
        if not self.use_nif:
            return None
        items = self.generator.item_table()  # [n_items, d]
        flow = unit(self.generator.flow(batch))  # [B, K, d]
        return torch.stack([vectors @ items.T for vectors in flow.unbind(1)]).amax(0)

    def loss_terms(self, batch) -> dict[str, Tensor]:
        """The weighted terms "bce", "tsp" and "align" of a batch, which may hold added partners."""
        state, context = self.encode_user(batch), self.embed_context(batch)
        ids, labels = batch[self.item_field], batch[self.label_field].float()
        samples = ~batch[ADDED] if ADDED in batch else None
        target = self._target(ids)
        pairs = tsp.Pairs.of(batch) if PAIR_OF in batch and self.tsp_mode != "none" else None
        met = [self._met(state, target, context)]
        if pairs is not None and self.tsp_mode != "shift":
            met.append(self._met(*tsp.at_the_earlier_time(state, target, context, pairs)))
        logits, *earlier_past = self._logits(*met, counted=samples)
        terms = {"bce": self.click_loss(logits, batch)}
        if pairs is not None:
            clicked, others = labels[pairs.later], logits.index_select(0, pairs.earlier)
            losses = [tsp.pair_loss(later, others, clicked, pairs.counted) for later in earlier_past]
            if self.tsp_mode in tsp.SHIFT_WEIGHT:
                shift = tsp.shift_loss(self, batch, state, target, pairs, clicked)
                losses.append(tsp.SHIFT_WEIGHT[self.tsp_mode] * shift)
            terms["tsp"] = self.lambda_tsp * sum(losses)
        if self.alignment is not None and self.lambda_align:
            weight = labels if samples is None else labels * samples
            terms["align"] = self.lambda_align * alignment_loss(
                met[0].reading.summary, target.vector, ids, weight, temperature=self.align_temperature
            )
        return terms

    def snapshot(
        self, windows: Windows, window: Tensor, visible: Tensor, gap: Tensor, flow: Tensor | None = None
    ) -> Snapshot:
        """Rows that read ``visible`` [S, n] events of ``windows``; the flow is computed if not given."""
        scene_memory = item_memory = None
        if self.scene_space is not None or self.item_space is not None:
            encoded = self.moveline(windows)  # [U, n, d]
            if self.scene_space is not None:
                scene_memory = self.scene_space.memory(encoded)
            if self.item_space is not None:
                item_memory = self.item_space.memory(encoded, self.moveline.events.item(windows.item))
        if self.use_nif and flow is None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_generator):
                flow = self.generator.flow_of(windows, window, visible, gap)
        return Snapshot(scene_memory, item_memory, window, visible, gap, flow)

    def _target(self, ids: Tensor) -> Target:
        """ids: [N] items."""
        features, scenes = self.embed_items(ids), self.item_scene[ids]
        scene = item = stage1 = None
        if self.scene_space is not None:
            scene = self.scene_space.target(features, self.moveline.events.scene, scenes)
        if self.item_space is not None:
            item = self.item_space.target(features)
        if self.item_vectors is not None:
            stage1 = self.item_vectors(ids)
        return Target(features, self.moveline.item_vectors(ids, scenes), scene, item, stage1)

    def read(self, target: Target, snapshot: Snapshot) -> Reading:
        """What each of N snapshots says of the target of the same place."""
        scene = item = flow = match = summary = None
        if self.scene_space is not None or self.item_space is not None:
            groups = RowGroups.of(snapshot.window, snapshot.n_windows)
            visible = groups.spread(snapshot.visible)  # [G, R, n]
        if self.scene_space is not None:
            scene = self.scene_space(target.scene, snapshot.gap, snapshot.scene_memory, visible, groups)
        if self.item_space is not None:
            item = self.item_space(target.item, snapshot.gap, snapshot.item_memory, visible, groups)
        if self.use_nif:
            aligned, log_gate = unit(snapshot.flow), None
            exact = () if target.stage1 is None else (match_scores(aligned, target.stage1),)
            if self.alignment is not None:
                aligned, log_gate = self.alignment(aligned, target.vector)
                summary = (log_gate.exp().unsqueeze(1) @ aligned).squeeze(1)  # [N, d]
            flow = self.flow_attention(aligned, target.vector, log_gate)
            match = torch.cat([match_scores(aligned, target.vector), *exact], dim=1)
        return Reading(scene, item, flow, match, summary)

    def _met(self, state: AMENState, target: Target, context: Tensor) -> Meeting:
        """Each state with the target of the same place in its context, [N, context_dim]."""
        reading = self.read(target, state.moveline)
        history = self.history_attention(target.features, state.history, state.mask, state.history_of)  # c^H
        if self.training and self.flow_dropout and reading.flow is not None:
            reading = reading.without_flow(torch.rand_like(reading.flow[:, :1]) < self.flow_dropout)
        inputs = [state.user, target.features, context, history]
        for read, met in (
            (reading.scene, target.scene),
            (reading.item, target.item),
            (reading.flow, target.vector),
        ):
            if read is not None:
                inputs += [read, met * read]
        inputs += [extra for extra in (reading.match, target.stage1) if extra is not None]
        return Meeting(torch.cat(inputs, dim=-1), reading)

    def _logits(self, *met: Meeting, counted: Tensor | None = None) -> list[Tensor]:
        """z of each meeting, [N] each; of the first one the rows ``counted`` [N] enter Dice's statistics."""
        sizes = [one.features.shape[0] for one in met]
        if counted is None and len(met) > 1:
            counted = torch.ones(sizes[0], dtype=torch.bool, device=met[0].features.device)
        if counted is not None:
            counted = F.pad(counted, (0, sum(sizes[1:])))
        logits = self.mlp(self.cross(torch.cat([one.features for one in met])), counted).squeeze(-1)
        parts = [logits] if len(met) == 1 else list(logits.split(sizes))
        if self.moveline_score is None:
            return parts
        return [part + self.moveline_scores(one.reading) for part, one in zip(parts, met, strict=True)]

    def moveline_scores(self, reading: Reading) -> Tensor:
        """r(v, M) = w_r . [c^S ; c^I ; c^F], the part of the logit that only the moveline moves."""
        read = [part for part in (reading.scene, reading.item, reading.flow) if part is not None]
        return self.moveline_score(torch.cat(read, dim=-1)).squeeze(-1)
