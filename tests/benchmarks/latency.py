"""One user's candidates: the user encoded once, beside one forward pass of replicated rows, fp32.

python -m tests.benchmarks.latency [--dataset=ml-1m] [--repeats=50] [--out=FILE.json]

One user of the test rows with a full history, 1, 100 and 1,000 items as candidates. "once" is ``encode_user``
of one row and ``score`` of all candidates; "replicated" is what RecBole does, a forward pass of as many rows.
Both begin with a batch that is in memory. The sides take turns; p50 and p99 are over the repeats, the last
column is the ratio of the two p50. Weights are new, on which the time does not depend.
Targets with 1,000 candidates: NIFDIN 1.5x, AMEN 5x, GenCI 20x.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_nif.config import NIFConfig
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.data.fields import ROW_ID
from recbole_nif.model.base import CTRModel
from tests.benchmarks.genci import IDS
from tests.benchmarks.timing import publish

MODELS = {"NIFDIN": {}, "NIFDIEN": {}, "AMEN": {}, "GenCI": IDS, "recbole.DIN": {}, "recbole.DIEN": {}}
COUNTS = (1, 100, 1000)


def sides_of(name: str, dataset: str, **overrides) -> dict[tuple[str, int], Callable[[], None]]:
    """What is timed of a model: (form, number of candidates) -> a function that scores them."""
    config = NIFConfig(name, dataset, config_dict={"device": "cpu", **overrides})
    torch.manual_seed(config["seed"])
    train, _, test = CTRDataset(config).build()
    model = config.model_class(config, train)
    if name == "AMEN":
        model.start_finetune()
    model.eval()
    begin, end = test.event_log.visible(test.inter_feat[ROW_ID])
    row = test.inter_feat[ROW_ID][(end - begin).argmax()]
    items = train.get_item_feature()
    sides = {}
    for count in COUNTS:
        wanted = items[torch.randint(1, train.item_num, (count,))]
        rows = with_items(test.read(row.repeat(count)), wanted)
        sides["replicated", count] = lambda rows=rows: model.predict(rows)
        if isinstance(model, CTRModel):
            user, state = test.read(row[None]), torch.zeros(count, dtype=torch.long)
            sides["once", count] = lambda user=user, rows=rows, state=state: model.score(
                model.encode_user(user), rows, state
            )
    return sides


def with_items(batch: Interaction, items: Interaction) -> Interaction:
    """The rows of ``batch`` with other items."""
    columns = {name: batch[name] for name in batch.columns}
    return Interaction(columns | {name: items[name] for name in items.columns})


@torch.inference_mode()
def measured(
    sides: dict[tuple[str, int], Callable[[], None]], repeats: int
) -> dict[tuple[str, int], np.ndarray]:
    """Milliseconds of every side, [repeats], after one warm-up, taken in turn."""
    seconds: dict[tuple[str, int], list[float]] = {side: [] for side in sides}
    for repeat in range(repeats + 1):
        for side, work in sides.items():
            begin = time.perf_counter()
            work()
            if repeat:
                seconds[side].append(time.perf_counter() - begin)
    return {side: 1000 * np.array(values) for side, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--out")
    options = parser.parse_args()
    rows = []
    for name, overrides in MODELS.items():
        times = measured(sides_of(name, options.dataset, **overrides), options.repeats)
        for count in COUNTS:
            replicated, once = times["replicated", count], times.get(("once", count))
            row = [name, count]
            for values in (once, replicated):
                row += ["—", "—"] if values is None else np.percentile(values, [50, 99]).tolist()
            ratio = "—" if once is None else float(np.median(replicated) / np.median(once))
            rows.append([*row, ratio])
    header = ["model", "candidates", "once p50, ms", "p99", "replicated p50, ms", "p99", "times faster"]
    publish(f"One user, {options.dataset}, {options.repeats} repeats", header, rows, options.out)


if __name__ == "__main__":
    main()
