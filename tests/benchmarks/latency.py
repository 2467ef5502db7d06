"""One user's candidates: the user encoded once, beside one forward pass of replicated rows, fp32.

python -m tests.benchmarks.latency [--dataset=ml-1m] [--repeats=50] [--out=FILE.json]

One user of the test rows with a full history, 1, 100 and 1,000 items as candidates. "once" is ``encode_user``
of one row and ``score`` of all candidates; "replicated" is what RecBole does, a forward pass of as many rows
of which each has the user's history to itself; "shared" is a forward pass of the rows as our loader reads
them, where rows of one history point to one copy of it. All begin with a batch that is in memory. The sides
take turns; p50 and p99 are over the repeats (a side that needs more than 20 s for them has at least five),
the last column is the ratio of the p50 of replicated and once. Weights are new, on which the time does not
depend.
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
from recbole_nif.data import fields
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.model.base import CTRModel
from tests.benchmarks.genci import IDS
from tests.benchmarks.timing import publish

MODELS = {"NIFDIN": {}, "NIFDIEN": {}, "AMEN": {}, "GenCI": IDS, "recbole.DIN": {}, "recbole.DIEN": {}}
COUNTS = (1, 100, 1000)
ENOUGH = 20.0  # seconds, of five repeats at least
FORMS = ("once", "shared", "replicated")
MOVELINES = {
    fields.MOVELINE_ITEM, fields.MOVELINE_SCENE, fields.MOVELINE_BEHAVIOR, fields.MOVELINE_GAP,
    fields.MOVELINE_START,
}  # fmt: skip
HISTORIES = {fields.HISTORY_ITEM, fields.HISTORY_LABEL, fields.HISTORY_SCENE}


def sides_of(name: str, dataset: str, **overrides) -> dict[tuple[str, int], Callable[[], None]]:
    """What is timed of a model: (form, number of candidates) -> a function that scores them."""
    config = NIFConfig(name, dataset, config_dict={"device": "cpu", **overrides})
    torch.manual_seed(config["seed"])
    train, _, test = CTRDataset(config).build()
    model = config.model_class(config, train)
    if name == "AMEN":
        model.start_finetune()
    model.eval()
    begin, end = test.event_log.visible(test.inter_feat[fields.ROW_ID])
    row = test.inter_feat[fields.ROW_ID][(end - begin).argmax()]
    items = train.get_item_feature()
    sides = {}
    for count in COUNTS:
        wanted = items[torch.randint(1, train.item_num, (count,))]
        rows = with_items(test.read(row.repeat(count)), wanted)
        alone = unshared(rows)
        sides["replicated", count] = lambda alone=alone: model.predict(alone)
        if alone is not rows:
            sides["shared", count] = lambda rows=rows: model.predict(rows)
            with torch.inference_mode():
                torch.testing.assert_close(model.predict(alone), model.predict(rows), rtol=0, atol=1e-5)
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


def unshared(batch: Interaction) -> Interaction:
    """The same rows, each with windows of its own; ``batch`` itself where none are shared."""
    columns = {name: batch[name] for name in batch.columns}
    everyone = torch.arange(len(batch[fields.ROW_ID]))
    if fields.MOVELINE_ROW in columns:
        window = columns[fields.MOVELINE_ROW]
        for name in columns.keys() & MOVELINES:
            columns[name] = columns[name][window]
        columns[fields.MOVELINE_ROW] = everyone
    elif fields.HISTORY_OF in columns:
        history = columns[fields.HISTORY_OF]
        window = columns[fields.HISTORY_WINDOW][history]
        for name in columns.keys() & HISTORIES:
            columns[name] = columns[name][window]
        columns |= {fields.HISTORY_OF: everyone, fields.HISTORY_WINDOW: everyone}
        columns[fields.HISTORY_CUT] = columns[fields.HISTORY_CUT][history]
    else:
        return batch
    return Interaction(columns)


@torch.inference_mode()
def measured(
    sides: dict[tuple[str, int], Callable[[], None]], repeats: int
) -> dict[tuple[str, int], np.ndarray]:
    """Milliseconds of every side after one warm-up, taken in turn; a slow side drops out after ``ENOUGH``."""
    seconds: dict[tuple[str, int], list[float]] = {side: [] for side in sides}
    for repeat in range(repeats + 1):
        for side, work in sides.items():
            if len(seconds[side]) >= 5 and sum(seconds[side]) > ENOUGH:
                continue
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
            row = [name, count]
            for form in FORMS:
                values = times.get((form, count))
                row += ["—", "—"] if values is None else np.percentile(values, [50, 99]).tolist()
            row.append(row[-2] / row[2] if ("once", count) in times else "—")
            rows.append(row)
    header = ["model", "candidates", *(f"{form} {q}" for form in FORMS for q in ("p50, ms", "p99"))]
    header.append("times faster")
    publish(f"One user, {options.dataset}, up to {options.repeats} repeats", header, rows, options.out)


if __name__ == "__main__":
    main()
