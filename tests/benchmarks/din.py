"""NIFDIN against recbole.DIN: training rows per second on the same rows, loader included, fp32.

python -m tests.benchmarks.din [--dataset=ml-1m] [--steps=8] [--out=FILE.json]

Both sides read the same batches (batch 1024, clicks-only history of 50). "Equal sizes" gives both the
same embedding, attention and MLP sizes; "both defaults" compares different architectures.
Targets: 1.3x with equal sizes, 8x with both defaults.
"""

from __future__ import annotations

from tests.benchmarks.setup import parse_options, trainer_of
from tests.benchmarks.timing import interleaved, publish

EQUAL = {
    "embedding_size": 10,
    "mlp_hidden_size": [256, 256, 256],
    "attention_mlp_hidden_size": [256, 256, 256],
}
SIDES = {
    "recbole.DIN, equal sizes": ("recbole.DIN", {}),  # its defaults are the sizes of EQUAL
    "NIFDIN, equal sizes": ("NIFDIN", EQUAL),
    "recbole.DIN, defaults": ("recbole.DIN", {}),
    "NIFDIN, defaults": ("NIFDIN", {}),
}


def main() -> None:
    options = parse_options(__doc__)
    sides = {
        name: trainer_of(model, options.dataset, options.steps, **sizes)
        for name, (model, sizes) in SIDES.items()
    }
    rates = interleaved(sides)
    rows = []
    for label, note in (("equal sizes", "same layer sizes"), ("defaults", "different architectures")):
        stock, ours = rates[f"recbole.DIN, {label}"], rates[f"NIFDIN, {label}"]
        rows.append([f"{label} ({note})", stock, ours, ours / stock])
    publish(
        f"DIN, {options.dataset}",
        ["training rows/s", "recbole.DIN", "NIFDIN", "times faster"],
        rows,
        options.out,
    )


if __name__ == "__main__":
    main()
