"""NIFDIEN against recbole.DIEN: training rows per second on the same rows, loader included, fp32.

python -m tests.benchmarks.dien [--dataset=ml-1m] [--steps=8] [--out=FILE.json]

Both sides read the same batches (batch 1024, clicks-only history of 50); recbole.DIEN always has its
defaults and trains a third of the steps. Against it: NIFDIEN with the same layer sizes, then with the
paper's attention and auxiliary loss in place of MLPs, each with a history per row and with packed ones, then
with its own defaults, which are packed, and with a history per row.
Target: 20x with both defaults.
"""

from __future__ import annotations

from tests.benchmarks.setup import parse_options, trainer_of
from tests.benchmarks.timing import interleaved, publish

STOCK = "recbole.DIEN"
# 30: the width of an item of ml-1m, which recbole.DIEN gives its states
SIZES = {"embedding_size": 10, "hidden_size": 30, "mlp_hidden_size": [256, 256, 256]}
EQUAL = {
    **SIZES,
    "attention_type": "mlp",
    "attention_mlp_hidden_size": [256, 256, 256],
    "auxiliary_mlp_hidden_size": [256, 256, 256],
}
BILINEAR = "equal sizes, bilinear attention and auxiliary loss"
WINDOW = {"encode": "window"}  # every row has a history of its own
SIDES = {
    "equal sizes (same layer sizes), window": EQUAL | WINDOW,
    "equal sizes (same layer sizes), packed": EQUAL,
    f"{BILINEAR}, window": SIZES | WINDOW,
    f"{BILINEAR}, packed": SIZES,
    "defaults but window (different architectures)": WINDOW,
    "defaults (different architectures)": {},
}


def main() -> None:
    options = parse_options(__doc__)
    sides = {STOCK: trainer_of(STOCK, options.dataset, max(1, options.steps // 3))}
    for label, sizes in SIDES.items():
        sides[label] = trainer_of("NIFDIEN", options.dataset, options.steps, **sizes)
    rates = interleaved(sides)
    rows = [[label, rates[STOCK], rates[label], rates[label] / rates[STOCK]] for label in SIDES]
    publish(
        f"DIEN, {options.dataset}",
        ["training rows/s", STOCK, "NIFDIEN", "times faster"],
        rows,
        options.out,
    )


if __name__ == "__main__":
    main()
