"""What AMEN gains on a log with a planted rule, and what TSP adds: test AUC over five seeds.

python -m tests.benchmarks.planted [--out=FILE.json]

No sign is claimed for TSP.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from tests.benchmarks.timing import publish
from tests.planted import SEEDS, planted_auc, write_planted

VARIANTS = {
    "NIFDIN, all events with label and scene": ("NIFDIN", {}),
    "AMEN": ("AMEN", {}),
    "AMEN, tsp_mode: none": ("AMEN", {"tsp_mode": "none"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out")
    options = parser.parse_args()
    aucs: dict[str, list[float]] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            data = write_planted(Path(folder, str(seed)), seed=seed)
            for name, (model, overrides) in VARIANTS.items():
                aucs[name].append(planted_auc(data, model, seed, **overrides))
    rows = [
        [name, f"{statistics.mean(values):.4f}", f"{statistics.stdev(values):.4f}"]
        for name, values in aucs.items()
    ]
    publish(
        f"Planted log, seeds {', '.join(map(str, SEEDS))}", ["model", "mean AUC", "sd"], rows, options.out
    )


if __name__ == "__main__":
    main()
