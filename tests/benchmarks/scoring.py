"""How long test rows take: GenCI beside NIFDIN, NIFDIEN and RecBole's models, loader included, fp32.

python -m tests.benchmarks.scoring [--dataset=ml-1m] [--rows=8192] [--repeats=5] [--out=FILE.json]

One process, every side the first rows of the test split in batches of 4096, in turn. The models have new
weights, on which the time does not depend, and have never seen a training batch; a loader is made anew for
every pass. So whatever is shared between rows is found within the pass.
Target: GenCI takes no longer than NIFDIEN.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from recbole_nif.config import NIFConfig
from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.evaluation.scoring import score_rows
from tests.benchmarks.genci import IDS
from tests.benchmarks.timing import interleaved, publish

RIVALS = ("NIFDIN", "NIFDIEN", "AutoInt")
PAPER = {"encoder_input": "tokens", "encode": "window"}
SIDES = {
    "NIFDIN": ("NIFDIN", {}),
    "NIFDIEN": ("NIFDIEN", {}),
    "AutoInt": ("AutoInt", {}),
    "recbole.DIN": ("recbole.DIN", {}),
    "recbole.DIEN": ("recbole.DIEN", {}),
    "AMEN": ("AMEN", {}),
    "GenCI (default)": ("GenCI", IDS),
    "GenCI, tokens, window (the paper)": ("GenCI", {**IDS, **PAPER}),
}


def scorer_of(model_name: str, dataset: str, n_rows: int, **overrides) -> Callable[[], int]:
    """A function that scores the first ``n_rows`` test rows and returns how many there are."""
    config = NIFConfig(model_name, dataset, config_dict={"device": "cpu", **overrides})
    torch.manual_seed(config["seed"])
    train, _, test = CTRDataset(config).build()
    test = test.copy(test.inter_feat[:n_rows])
    model = config.model_class(config, train)
    if model_name == "AMEN":
        model.start_finetune()

    def work() -> int:
        return len(score_rows(model, CTRDataLoader(config, test, "test"), config).score)

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--rows", type=int, default=2 * 4096)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out")
    options = parser.parse_args()
    sides = {
        label: scorer_of(name, options.dataset, options.rows, **keys) for label, (name, keys) in SIDES.items()
    }
    n_rows = sides["AutoInt"]()
    rates = interleaved(sides, options.repeats)
    rows = [
        [label, n_rows / rate, rate, *(rates[rival] / rate for rival in RIVALS)]
        for label, rate in rates.items()
    ]
    header = ["model", "seconds", "test rows/s", *(f"times the seconds of {rival}" for rival in RIVALS)]
    publish(f"Scoring, {options.dataset}, {n_rows:,} test rows", header, rows, options.out)


if __name__ == "__main__":
    main()
