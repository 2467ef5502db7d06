"""Large embedding tables: ``learner: sparse_adam`` against ``adam``, training rows per second of NIFDIN.

python -m tests.benchmarks.tables [--items=20000,1000000,4000000] [--steps=4] [--out=FILE.json]

Generated logs of a million events that differ in the size of the catalogue; the step of a run, with the
average of the weights (``ema_decay``), batch 1024, loader included. Both sides in turn, fp32.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

from recbole_nif.trainer.engine import Engine
from tests.benchmarks.generated_log import GeneratedLog, atomic_settings
from tests.benchmarks.setup import prepare
from tests.benchmarks.timing import interleaved, publish

LEARNERS = ("adam", "sparse_adam")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", default="20000,1000000,4000000")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--out")
    options = parser.parse_args()
    rows = []
    for items in map(int, options.items.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            GeneratedLog(options.events, items=items).write_atomic(Path(folder))
            sides = {learner: _trainer(Path(folder), learner, options.steps) for learner in LEARNERS}
            adam, sparse = interleaved(sides).values()
        rows.append([items, adam, sparse, sparse / adam])
    header = ["items", *(f"{learner}, rows/s" for learner in LEARNERS), "times faster"]
    publish("Large tables, NIFDIN", header, rows, options.out)


def _trainer(folder: Path, learner: str, steps: int) -> Callable[[], int]:
    """A function that trains ``steps`` batches as a run does and returns the rows it has seen."""
    config, loader, model = prepare("NIFDIN", "generated", learner=learner, **atomic_settings(folder))
    groups = model.train().param_groups(config["learning_rate"], config["weight_decay"])
    engine = Engine(config, model, model.loss_terms, groups)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))

    def work() -> int:
        rows = 0
        for batch in itertools.islice(batches, steps):
            engine.step(batch)
            rows += len(batch)
        return rows

    return work


if __name__ == "__main__":
    main()
