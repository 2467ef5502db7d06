"""Groups and calibration of several models as markdown tables and as rows of a CSV file."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from recbole_nif.analysis.calibration import Reliability, reliability, rescaled_logloss
from recbole_nif.analysis.groups import Grouping, metrics_of, sizes
from recbole_nif.analysis.runs import Variant
from recbole_nif.audit.report import aligned
from recbole_nif.evaluation.metrics import logloss
from recbole_nif.evaluation.scored_rows import ScoredRows
from recbole_nif.publish.text import number

UNDEFINED = number(None)
METRICS = ("auc", "gauc", "logloss")
GROUP_COLUMNS = ("grouping", "group", "rows", "users", "click share", "model", "run", *METRICS)
CURVE_COLUMNS = ("model", "run", "bin", "rows", "mean score", "click share")


def group_lines(
    grouping: Grouping, variants: Sequence[Variant], gauc_weight: str | None
) -> Iterator[tuple[object, ...]]:
    """The metrics of every group, model and run, as rows of ``GROUP_COLUMNS``."""
    for name, places in grouping.members():
        for variant in variants:
            for folder, rows in zip(variant.folders, variant.scored, strict=True):
                values = metrics_of(rows, places, gauc_weight).metrics()
                counted = sizes(rows, places)
                yield grouping.key, name, *counted, variant.label, folder.name, *map(values.get, METRICS)


def group_table(lines: Sequence[Sequence[object]]) -> str:
    """The lines of one grouping as a table: a line per group and model, mean ± deviation over its runs."""
    shown = [("group", "rows", "users", "clicks", "model", "AUC", "GAUC", "LogLoss")]
    before = None
    for (name, n_rows, users, clicks, model), values in _by_model(lines):
        size = (name, f"{n_rows:,}", f"{users:,}", f"{clicks:.1%}") if name != before else ("",) * 4
        shown.append((*size, model, *map(spread, zip(*values, strict=True))))
        before = name
    return aligned([[cell.replace("|", "\\|") for cell in line] for line in shown])


def _by_model(lines: Sequence[Sequence[object]]) -> Iterator[tuple[Sequence, list[Sequence[float]]]]:
    """Group with its sizes and model -> the metrics of each run."""
    found: dict[tuple, list] = {}
    for line in lines:
        found.setdefault(tuple(line[1:6]), []).append(line[-len(METRICS) :])
    yield from found.items()


def group_means(lines: Sequence[Sequence[object]], metric: str) -> dict[str, dict[str, float]]:
    """Model -> group -> mean of a metric over the model's runs."""
    means: dict[str, dict[str, float]] = {}
    for (name, *_, model), values in _by_model(lines):
        means.setdefault(model, {})[name] = float(np.mean([value[METRICS.index(metric)] for value in values]))
    return means


def curves(variant: Variant, bins: int) -> list[Reliability]:
    """The reliability curve of each run."""
    return [reliability(rows.label, rows.score, bins) for rows in variant.scored]


def calibration_table(variants: Sequence[Variant], bins: int) -> str:
    """A line per model, mean ± deviation over its runs."""
    head = ("model", "mean score", "click share", "ECE", "LogLoss", "LogLoss rescaled", "lost by scale")
    shown = [head]
    for variant in variants:

        def of_runs(value: Callable[[ScoredRows], float], variant: Variant = variant) -> list[float]:
            return [value(rows) for rows in variant.scored]

        loss = of_runs(lambda rows: logloss(rows.label, rows.score))
        rescaled = of_runs(lambda rows: rescaled_logloss(rows.label, rows.score))
        values = (
            of_runs(lambda rows: float(rows.score.mean())),
            of_runs(lambda rows: float(rows.label.mean()))[:1],
            [curve.ece for curve in curves(variant, bins)],
            loss,
            rescaled,
            np.subtract(loss, rescaled).tolist(),
        )
        shown.append((variant.label, *map(spread, values)))
    return aligned([[cell.replace("|", "\\|") for cell in line] for line in shown])


def curve_lines(variants: Sequence[Variant], bins: int) -> Iterator[tuple[object, ...]]:
    """Every point of every curve, as rows of ``CURVE_COLUMNS``."""
    for variant in variants:
        for folder, curve in zip(variant.folders, curves(variant, bins), strict=True):
            for place, point in enumerate(zip(curve.rows, curve.score, curve.rate, strict=True), start=1):
                yield variant.label, folder.name, place, *point


def spread(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation over runs; of one run its value."""
    mean = number(np.mean(values))
    return mean if len(values) == 1 or mean == UNDEFINED else f"{mean} ± {number(np.std(values, ddof=1))}"
