"""GenCI's four ways to read a history, and T5 used plainly: training rows per second, loader included, fp32.

python -m tests.benchmarks.genci [--dataset=ml-1m] [--steps=8] [--out=FILE.json]

All sides read the same batches (batch 1024, clicks-only history of 50). "plain T5" is what the equations ask
for at the same sizes, by transformers alone: T5ForConditionalGeneration on the four codes of every past item
of every row, the next-token loss, and greedy decoding of three codes (without its cache, which in
transformers 5.23 needs as many decoder as encoder layers). It has no click model on top, so it does less than
GenCI. The sides train very different numbers of steps a repeat, the slowest one step of 256 rows.
Target: 20x for the default. How fast it scores is in ``scoring.py``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_nif.data import fields
from recbole_nif.model.genci.build import t5_config
from tests.benchmarks.setup import parse_options, prepare, trainer_of
from tests.benchmarks.timing import interleaved, publish

PLAIN = "plain T5"
PLAIN_ROWS = 256
IDS = {"text_encoder": "features", "quantizer": "kmeans", "codebook_size": 256}
SIDES = {
    "tokens, window (the paper)": {"encoder_input": "tokens", "encode": "window"},
    "items, window": {"encoder_input": "items", "encode": "window"},
    "tokens, packed": {"encoder_input": "tokens", "encode": "packed"},
    "items, packed (default)": {"encoder_input": "items", "encode": "packed"},
}


def plain_t5(dataset: str) -> Callable[[], int]:
    """A function that trains one step of transformers' T5 on the histories of ``PLAIN_ROWS`` rows."""
    from transformers import T5ForConditionalGeneration

    config, loader, _ = prepare("GenCI", dataset, train_batch_size=PLAIN_ROWS, encode="window", **IDS)
    ids = loader.dataset.semantic_ids
    sizes = t5_config(config, ids.n_tokens)
    sizes.eos_token_id = None
    model = T5ForConditionalGeneration(sizes)
    optimizer = torch.optim.Adam(model.parameters(), lr=config["learning_rate"])
    batches = itertools.chain.from_iterable(itertools.repeat(loader))

    def work() -> int:
        batch = next(batches)
        optimizer.zero_grad(set_to_none=True)
        plain_step(model, batch, ids.tokens)
        optimizer.step()
        return len(batch["user_id"])

    return work


def plain_step(model: nn.Module, batch: Interaction, tokens: Tensor) -> None:
    """Forward pass, decoding and backward pass; tokens: [n_items, N]."""
    from transformers.modeling_outputs import BaseModelOutput

    items = batch[fields.HISTORY_ITEM][batch[fields.HISTORY_OF]]  # [B, n], every row its own
    inputs = tokens[items].flatten(1)  # [B, nN]
    mask = inputs > 0
    mask[:, 0] = True  # T5 knows no empty input
    output = model(input_ids=inputs, attention_mask=mask, labels=tokens[batch["item_id"]])
    with torch.no_grad():
        model.eval().generate(
            encoder_outputs=BaseModelOutput(output.encoder_last_hidden_state),
            attention_mask=mask,
            min_new_tokens=3,
            max_new_tokens=3,
            use_cache=False,
        )
    model.train()
    output.loss.backward()


def main() -> None:
    options = parse_options(__doc__)
    sides = {PLAIN: plain_t5(options.dataset)}
    for label, form in SIDES.items():
        steps = options.steps if "packed" in label else max(1, options.steps // 4)
        sides[label] = trainer_of("GenCI", options.dataset, steps, **IDS, **form)
    rates = interleaved(sides)
    rows = [[label, rates[label], rates[label] / rates[PLAIN]] for label in rates]
    publish(f"GenCI, {options.dataset}", ["side", "training rows/s", "times plain T5"], rows, options.out)


if __name__ == "__main__":
    main()
