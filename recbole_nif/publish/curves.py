"""Learning curves: what every stage of every run scored on the validation rows, epoch by epoch."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from recbole_nif.plot_style import COLORS
from recbole_nif.publish.plots import METRIC_NAMES, Plot, panels, panels_height
from recbole_nif.publish.runs import Row, Run, Table

CAPTION = (
    "A panel per row of the table, with axes of its own; one line per seed. The point is the epoch whose "
    "weights were kept."
)
COLUMNS = ("row", "seed", "epoch", "metric", "value", "training loss", "kept")
Curve = list[tuple[int, float]]  # (epoch from 1, score)


def learning_curves(table: Table, prefix: str) -> list[Plot]:
    """A plot for each stage and the metric that it is validated by, where some run has a second epoch."""
    found: dict[tuple[str, str], dict[Row, list[tuple[Run, Mapping]]]] = {}
    for row in table.rows:
        for run in row.runs:
            for stage in run.record["stages"]:
                metric = _metric(stage)
                if metric and _curve(stage, metric):
                    rows = found.setdefault((stage["name"], metric), {})
                    rows.setdefault(row, []).append((run, stage))
    return [
        _plot(stage, metric, rows, prefix)
        for (stage, metric), rows in found.items()
        if any(len(_curve(report, metric)) > 1 for runs in rows.values() for _, report in runs)
    ]


def _plot(stage: str, metric: str, rows: Mapping[Row, Sequence[tuple[Run, Mapping]]], prefix: str) -> Plot:
    name = METRIC_NAMES.get(metric, metric)
    numbers = [
        (
            row.label,
            run.seed,
            point["epoch"] + 1,
            metric,
            (point["valid"] or {}).get(metric),
            sum(value for value in point["loss"].values() if value is not None),
            point["epoch"] == report["best_epoch"],
        )
        for row, runs in rows.items()
        for run, report in runs
        for point in report["curve"]
    ]
    return Plot(
        name=f"{prefix}-learning-{stage}-{metric.replace('@', '-')}",
        title=f"Learning curves of stage {stage}: {name} on the validation rows",
        caption=CAPTION,
        columns=COLUMNS,
        rows=numbers,
        draw=partial(_draw, rows=rows, metric=metric),
        height=panels_height(len(rows)),
    )


def _draw(figure: Figure, rows: Mapping[Row, Sequence[tuple[Run, Mapping]]], metric: str) -> None:
    axes = panels(figure, [row.label for row in rows], x="epoch", y=METRIC_NAMES.get(metric, metric))
    for axis, runs in zip(axes, rows.values(), strict=True):
        for _, stage in runs:
            curve = _curve(stage, metric)
            axis.plot(*zip(*curve, strict=True), color=COLORS[0], marker="", linewidth=1)
            kept = [point for point in curve if point[0] == stage["best_epoch"] + 1]
            axis.plot(*zip(*kept, strict=True), "o", color=COLORS[1]) if kept else None
        axis.xaxis.get_major_locator().set_params(integer=True)


def _metric(stage: Mapping[str, Any]) -> str | None:
    """What a stage is validated by; early records leave it to be found among the best epoch's metrics."""
    told = stage.get("valid_metric")
    equal = [name for name, value in (stage.get("valid") or {}).items() if value == stage.get("best_score")]
    return told or next(iter(equal), None)


def _curve(stage: Mapping[str, Any], metric: str) -> Curve:
    scores = [(point["epoch"] + 1, (point["valid"] or {}).get(metric)) for point in stage.get("curve", ())]
    return [(epoch, score) for epoch, score in scores if score is not None]
