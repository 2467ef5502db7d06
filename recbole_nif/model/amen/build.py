"""AMEN's parts from the configuration; the parts themselves never read it."""

import torch
from torch import nn

from recbole_nif.config_choices import choice
from recbole_nif.errors import UserError
from recbole_nif.model.amen.generator import InterestFlowGenerator
from recbole_nif.model.amen.losses import FlowInfoNCE
from recbole_nif.model.amen.moveline import EventEmbedding, MovelineEncoder
from recbole_nif.model.amen.regularizers import FlowRegularizer
from recbole_nif.model.amen.spaces import ItemSpace, SceneSpace
from recbole_nif.model.layers.embedding import CodedEmbedding
from recbole_nif.model.layers.target_attention import TargetAttention

# What stage 1 does not read: runs that differ in these keys alone share it. A key that is missing here costs
# time, one too many would mix up generators.
STAGE_2_KEYS = frozenset({
    "train_stage", "pretrained_generator", "model_file",
    "use_nif", "flow_dropout_prob", "stage1_item_vectors", "init_from_generator", "freeze_generator",
    "pretrained_learning_rate", "use_sam", "lambda_align", "align_temperature",
    "generator_cross_fit", "cross_fit_folds", "flow_cache", "flow_cache_memory_mb",
    "tsp_mode", "lambda_tsp", "tsp_partner", "tsp_neighbors", "tsp_window", "tsp_ratio",
    "use_scene_space", "use_item_space", "history", "MAX_ITEM_LIST_LENGTH", "attention_mlp_hidden_size",
    "attention_activation", "attention_softmax", "cross_layers", "cross_rank", "mlp_hidden_size",
    "mlp_activation", "dropout_prob", "rows_per_window", "train_batch_size", "eval_batch_size",
})  # fmt: skip


def build_items(config, dataset) -> nn.Module:
    """e_I of stage 1's targets and of events: by the item's id, or also by its semantic codes.

    The collision digit is left out: it tells nothing that items could share.
    """
    size = config["embedding_size"]
    if choice(config, "flow_targets") == "id":
        return nn.Embedding(dataset.item_num, size, padding_idx=0)
    ids = dataset.semantic_ids
    return CodedEmbedding(tokens=ids.tokens[:, :-1], n_tokens=ids.n_tokens, embedding_size=size)


def build_moveline(config, dataset) -> MovelineEncoder:
    """The moveline encoder; generator and click model have one each, of the same shape."""
    width, embedding_size = config["hidden_size"], config["embedding_size"]
    if width % config["n_heads"]:
        raise UserError(f"hidden_size {width} must be a multiple of n_heads ({config['n_heads']}).")
    if choice(config, "moveline_encoder") == "gru" and config["n_layers"] < 1:
        raise UserError("moveline_encoder: gru needs n_layers of at least 1.")
    events = EventEmbedding(
        items=build_items(config, dataset),
        n_behaviors=dataset.n_behaviors,
        scene_members=dataset.scenes.members,
        n_scenes=dataset.scenes.n_scenes,
        embedding_size=embedding_size,
        width=width,
        with_items=config["moveline_with_items"],
    )
    return MovelineEncoder(
        events=events,
        encoder=choice(config, "moveline_encoder"),
        embedding_size=embedding_size,
        width=width,
        length=config["moveline_length"],
        n_layers=config["n_layers"],
        n_heads=config["n_heads"],
        dropout=config["hidden_dropout_prob"],
    )


def build_spaces(config, dataset, item_dim: int) -> tuple[SceneSpace | None, ItemSpace | None]:
    """Scene space and item space, each None where it is switched off."""
    shared = {
        "item_dim": item_dim,
        "width": config["hidden_size"],
        "n_heads": config["n_heads"],
        "length": config["moveline_length"],
    }
    size, scene, item = config["embedding_size"], None, None
    if config["use_scene_space"]:
        scene = SceneSpace(scene_dim=size, n_scenes=dataset.scenes.n_scenes, **shared)
    if config["use_item_space"]:
        item = ItemSpace(embedding_size=size, **shared)
    return scene, item


def build_history_attention(config, item_dim: int) -> TargetAttention:
    """c^H, that of DIN."""
    return TargetAttention(
        item_dim,
        config["attention_mlp_hidden_size"],
        activation=config["attention_activation"],
        softmax=config["attention_softmax"],
    )


def build_generator(config, dataset) -> InterestFlowGenerator:
    """The flow generator with the losses of stage 1."""
    contrast = FlowInfoNCE(
        temperature=config["nce_temperature"],
        learnable_temperature=config["learnable_temperature"],
        n_in_batch=config["nce_in_batch"],
        n_uniform=config["nce_uniform"],
        item_count=dataset.train_item_count,
        use_logq=config["use_logq"],
    )
    form = choice(config, "regularizer_form")
    div_form = choice(config, "div_form")
    if div_form == {"cosine": "tangent_logdet", "geodesic": "logdet"}.get(form):
        raise UserError(
            f"div_form {div_form} does not go with regularizer_form {form}: use hinge, or change the form."
        )
    regularizer = FlowRegularizer(
        form=form,
        div_form=div_form,
        delta=config["delta"],
        delta_t=config["delta_t"],
        theta_0=config["theta_0"],
        vel_target=choice(config, "vel_target"),
        beta_acc=config["beta_acc"],
        anchor=choice(config, "anchor"),
    )
    with torch.random.fork_rng(devices=[]):  # whatever the click model around it, stage 1 begins alike
        torch.manual_seed(config["seed"])
        return InterestFlowGenerator(
            moveline=build_moveline(config, dataset),
            contrast=contrast,
            regularizer=regularizer,
            lambda_div=config["lambda_div"],
            lambda_vel=config["lambda_vel"],
            lambda_click=config["lambda_click"] or 0.0,
            item_scene=dataset.item_scene,
            clicked_behaviors=dataset.clicked_behaviors,
            flow_len=config["flow_len"],
            flow_decoding=choice(config, "flow_decoding"),
            width=config["hidden_size"],
            n_layers=config["n_layers"],
            n_heads=config["n_heads"],
            dropout=config["hidden_dropout_prob"],
        )
