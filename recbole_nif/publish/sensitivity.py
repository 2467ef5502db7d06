"""Sensitivity: the AUC of one model by the value of one numeric setting, all others equal."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from recbole_nif.plot_style import COLORS
from recbole_nif.publish.names import label_of
from recbole_nif.publish.plots import METRIC_NAMES, Plot, panels, panels_height
from recbole_nif.publish.runs import Row, Table
from recbole_nif.results import METRICS

LEAST = 3  # values that make a curve
CAPTION = (
    "Mean over seeds, with a line from the lowest to the highest; all other settings are equal. The "
    "hollow point is the default. Values are evenly spaced, whatever their size."
)
COLUMNS = ("model", "setting", "value", "seed", *METRICS)
Points = dict[float, Row]  # by value, ascending


def sensitivity_curves(table: Table, prefix: str) -> list[Plot]:
    """A plot for each model, with a panel for each setting of which the table has three values or more."""
    plots = []
    for model in dict.fromkeys(row.model for row in table.rows):
        rows = [row for row in table.rows if row.model == model and row.mean("auc") is not None]
        curves = {title: points for title, points in _curves(rows).items() if len(points) >= LEAST}
        if curves:
            plots.append(_plot(model, curves, prefix))
    return plots


def _curves(rows: Sequence[Row]) -> dict[str, Points]:
    """Rows that differ in one numeric setting only, by that setting and what they have in common."""
    curves: dict[str, Points] = {}
    for key in dict.fromkeys(key for row in rows for key, value in row.variant.items() if _numeric(value)):
        groups: dict[str, Points] = {}
        for row in rows:
            common = {name: value for name, value in row.variant.items() if name != key}
            value = row.variant.get(key, row.runs[0].config.get(key))
            if _numeric(value):
                groups.setdefault(json.dumps(common, sort_keys=True), {})[value] = row
        for common, points in groups.items():
            curves[label_of(key, json.loads(common))] = dict(sorted(points.items()))
    return curves


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plot(model: str, curves: Mapping[str, Points], prefix: str) -> Plot:
    numbers = [
        (model, title, value, run.seed, *(run.record["test"].get(metric) for metric in METRICS))
        for title, points in curves.items()
        for value, row in points.items()
        for run in row.runs
    ]
    return Plot(
        name=f"{prefix}-sensitivity-{model.rpartition(':')[2]}",
        title=f"{model}: AUC on the test rows by the value of one setting",
        caption=CAPTION,
        columns=COLUMNS,
        rows=numbers,
        draw=partial(_draw, curves=curves),
        height=panels_height(len(curves)),
    )


def _draw(figure: Figure, curves: Mapping[str, Points]) -> None:
    axes = panels(figure, list(curves), x="value", y=METRIC_NAMES["auc"], sharey=True)
    for axis, (title, points) in zip(axes, curves.items(), strict=True):
        key, places = title.partition(" ")[0], range(len(points))
        means = [row.mean("auc") for row in points.values()]
        axis.plot(places, means, color=COLORS[0], marker="o")
        for place, row in zip(places, points.values(), strict=True):
            values = row.values("auc")
            axis.plot([place, place], [min(values), max(values)], color=COLORS[0], marker="", linewidth=1)
            if key not in row.variant:
                axis.plot(place, row.mean("auc"), "o", color=COLORS[1], markerfacecolor="white", markersize=7)
        axis.set_xticks(places, [f"{value:g}" for value in points])
        axis.margins(x=0.1)
