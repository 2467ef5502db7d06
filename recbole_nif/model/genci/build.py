"""GenCI's parts from the configuration; the parts themselves never read it."""

from torch import nn

from recbole_nif.config_choices import choice
from recbole_nif.errors import UserError
from recbole_nif.model.genci.codebook import CodeTokens
from recbole_nif.model.genci.decoder import SharedDecoder
from recbole_nif.model.genci.history_encoder import HistoryEncoder
from recbole_nif.model.genci.intents import ShortTermIntent
from recbole_nif.model.layers.row_groups import ROWS_PER_GROUP
from recbole_nif.semantic_id.codes import SemanticIds
from recbole_nif.semantic_id.trie import Cohorts


def group_size(config) -> int:
    """Rows of one window that attend side by side; in mode window few rows share one."""
    return ROWS_PER_GROUP if choice(config, "encode") == "packed" else 1


def t5_config(config, n_tokens: int):
    """transformers' ``T5Config`` of the configured size; tokens begin with 0 = padding and decoder start."""
    from transformers import T5Config  # heavy; only GenCI needs it

    return T5Config(
        vocab_size=n_tokens,
        d_model=config["hidden_size"],
        d_kv=config["head_size"],
        d_ff=config["inner_size"],
        num_heads=config["n_heads"],
        num_layers=config["n_encoder_layers"],
        num_decoder_layers=config["n_decoder_layers"],
        dropout_rate=config["hidden_dropout_prob"],
        feed_forward_proj="relu",
        decoder_start_token_id=0,
        pad_token_id=0,
    )


def build_t5(config, n_tokens: int) -> nn.Module:
    """transformers' ``T5Model`` with random weights."""
    from transformers import T5Model

    return T5Model(t5_config(config, n_tokens))


def build_encoder(config, ids: SemanticIds, t5: nn.Module) -> HistoryEncoder:
    """The encoder side."""
    return HistoryEncoder(
        tokens=ids.tokens,
        table=t5.shared,
        stack=t5.encoder,
        encoder_input=choice(config, "encoder_input"),
        causal=choice(config, "encode") == "packed",
        with_labels=config["history"] == "all_with_label",
    )


def build_decoder(config, ids: SemanticIds, t5: nn.Module) -> tuple[SharedDecoder, CodeTokens]:
    """The decoder and its vocabulary."""
    tokens = CodeTokens(t5.shared, ids.sizes, softmax_over=choice(config, "ntp_softmax"))
    return SharedDecoder(t5.decoder, group_size=group_size(config)), tokens


def build_short_term(config, ids: SemanticIds, items: nn.Embedding) -> ShortTermIntent:
    """Cohorts and attentions."""
    width, n_heads = config["hidden_size"], config["attention_heads"]
    if width % n_heads:
        raise UserError(f"hidden_size {width} must be a multiple of attention_heads ({n_heads}).")
    return ShortTermIntent(
        items=items,
        cohorts=Cohorts.build(ids),
        form=choice(config, "intent"),
        width=width,
        n_heads=n_heads,
        dropout=config["attention_dropout_prob"],
        shared=config["share_cross_attention"],
        group_size=group_size(config),
        over="padded" if choice(config, "cohort_mean") == "padded" else "count",
        detach=config["detach_cohorts"],
    )
