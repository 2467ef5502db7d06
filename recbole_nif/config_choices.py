"""Keys that name one of a few forms: the table of their values, and how a model reads one."""

from recbole_nif.errors import UserError

CHOICES = {
    "state": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),  # in any case
    "rm_dup_inter": ("first", "last", None),
    "split_ties": ("cut", "whole"),
    "order_precision": ("exact", "float32"),
    "history": ("clicks", "all", "all_with_label"),
    "history_ties": ("strict", "order"),
    "history_until": ("online", "train"),
    "scene_mode": ("token", "token_seq", "cross", None),
    "gauc_weight": ("impressions", "clicks", "uniform"),
    "amp_dtype": ("bfloat16", "float16"),
    "train_stage": ("both", "pretrain", "finetune"),
    "quantizer": ("rqvae", "kmeans"),
    "eval_args.group_by": ("user", "none", None),
    # AMEN
    "moveline_encoder": ("transformer", "gru"),
    "flow_decoding": ("slots", "autoregressive"),
    "flow_targets": ("id", "semantic"),
    "pretrain_valid_metric": ("recall@10", "recall@50", "flow_auc"),
    "regularizer_form": ("none", "cosine", "geodesic"),
    "div_form": ("hinge", "logdet", "tangent_logdet"),
    "vel_target": ("smooth", "match"),
    "anchor": ("last", "mean"),
    "generator_cross_fit": ("none", "kfold"),
    "stage1_item_vectors": ("none", "frozen", "trainable"),
    "tsp_mode": ("none", "logit", "shift", "both", "same_time", "random"),
    "tsp_partner": ("nearest", "random", "in_batch"),
    # GenCI
    "preset": ("official_code", None),
    "encoder_input": ("tokens", "items"),
    "encode": ("window", "packed"),
    "ntp_targets": ("clicked", "all"),
    "ntp_softmax": ("level", "all"),
    "decoding": ("trie", "free"),
    "intent": ("hierarchical", "mean", "target"),
    "cohort_mean": ("true_count", "padded"),
    "sr_teacher": ("joint", "pretrained"),
}


def choice(config, key: str) -> str:
    """The value of a key of the table; an unset key means "none" where that is a form.

    ``NIFConfig`` has checked what users gave it; a model can also be built by RecBole's own ``Config``.

    Raises:
        UserError: no such form.
    """
    value = "none" if config[key] is None and "none" in CHOICES[key] else config[key]
    if value not in CHOICES[key]:
        options = ", ".join(option for option in CHOICES[key] if option is not None)
        raise UserError(f"{key} is {value!r}: use one of {options}.")
    return value
