"""Pictures of groups and calibration."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from recbole_nif.analysis.groups import Grouping
from recbole_nif.analysis.runs import Variant
from recbole_nif.analysis.tables import curves
from recbole_nif.plot_style import COLORS, MARKERS, picture

SPREAD = 0.5  # of the models' marks around a group's place


def draw_groups(
    path: Path,
    groupings: Sequence[Grouping],
    auc: Sequence[Mapping[str, Mapping[str, float]]],
    overall: Mapping[str, float],
) -> None:
    """A panel per grouping: the AUC of every model in every group.

    auc: per grouping model -> group -> AUC; overall: model -> AUC of all rows.
    """
    n_lines = -(-len(groupings) // 2)
    with picture(path, width=9, height=0.6 + 2.9 * n_lines) as figure:
        panels = figure.subplots(n_lines, 2, squeeze=False).flatten()
        for panel, grouping, by_model in zip(panels, groupings, auc, strict=False):
            defined = next(iter(by_model.values()))  # the AUC of a group is undefined for all models or none
            members = [(name, rows) for name, rows in grouping.members() if not np.isnan(defined[name])]
            shift = SPREAD * ((np.arange(len(by_model)) + 0.5) / len(by_model) - 0.5)
            for number, (model, values) in enumerate(by_model.items()):
                look = {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}
                heights = [values[name] for name, _ in members]
                panel.plot(
                    np.arange(len(members)) + shift[number], heights, linestyle="", label=model, **look
                )
            for place in range(1, len(members)):
                panel.axvline(place - 0.5, color="#DDDDDD", linewidth=0.8)
            labels = [f"{name}\n{len(rows):,}" for name, rows in members]
            panel.set_xticks(range(len(members)), labels, fontsize=7.5)
            panel.set_xlim(-0.5, max(1, len(members)) - 0.5)
            panel.margins(y=0.1)
            panel.grid(axis="x", visible=False)
            panel.set(title=f"by {grouping.title}", ylabel="AUC")
        for panel in panels[len(groupings) :]:
            panel.axis("off")
        names = [f"{model} ({overall[model]:.4f})" for model in overall]
        handles = panels[0].get_legend_handles_labels()[0]
        figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)))
        figure.suptitle(
            "AUC in groups of test rows (their number below each group; in brackets AUC of all rows)"
        )


def draw_calibration(path: Path, variants: Sequence[Variant], bins: int) -> None:
    """Reliability curves, and how far they are off; of the first run of each model."""
    with picture(path, width=9, height=4.2) as figure:
        curve_panel, gap_panel = figure.subplots(1, 2)
        drawn = [(variant.label, curves(variant, bins)[0]) for variant in variants]
        curve_panel.plot(
            [0, 1], [0, 1], color="#888888", linestyle="--", marker="", label="true probabilities"
        )
        gap_panel.axhline(0, color="#888888", linestyle="--")
        for number, (label, curve) in enumerate(drawn):
            look = {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}
            named = f"{label} (ECE {curve.ece:.4f})"
            curve_panel.plot(curve.score, curve.rate, linewidth=1, label=named, **look)
            gap_panel.plot(curve.score, curve.rate - curve.score, linewidth=1, **look)
        curve_panel.set(title="reliability curve", ylabel="share of clicks in the bin")
        gap_panel.set(
            title="error (above 0: more clicks than predicted)", ylabel="share of clicks − mean score"
        )
        for panel in (curve_panel, gap_panel):
            panel.set_xlabel(f"mean predicted probability ({bins} bins with equally many rows)")
        curve_panel.set(xlim=(0, 1), ylim=(0, 1))
        gap_panel.set_xlim(0, 1)
        figure.legend(loc="outside lower center", ncols=3)
        figure.suptitle("Calibration on the test rows, of the first run of each model")
