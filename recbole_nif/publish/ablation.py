"""Bars of ablations: what a changed setting does to the AUC, with an interval over test users."""

import textwrap
from collections.abc import Sequence
from functools import partial

from matplotlib.figure import Figure

from recbole_nif.evaluation.compare import METRICS
from recbole_nif.plot_style import COLORS
from recbole_nif.publish.differences import Compared
from recbole_nif.publish.names import label_of
from recbole_nif.publish.plots import Plot
from recbole_nif.publish.runs import Row

BOUNDS = ("difference", "low", "high")
COLUMNS = (
    "changed", "base", "seeds", *(f"{metric} {bound}" for metric in METRICS for bound in BOUNDS),
    "AUC by seed",
)  # fmt: skip


def ablation_bars(compared: Sequence[Compared], prefix: str) -> list[Plot]:
    """A plot for each row that others are variants of, if one of them has scores that can be compared."""
    by_base: dict[Row, list[Compared]] = {}
    for one in compared:
        if one.is_variant:
            by_base.setdefault(one.second, []).append(one)
    known = [(base, variants) for base, variants in by_base.items() if any(one.found for one in variants)]
    return [_plot(*known[place], f"{prefix}-ablation-{place + 1}") for place in range(len(known))]


def _plot(base: Row, variants: Sequence[Compared], name: str) -> Plot:
    return Plot(
        name=name,
        title=f"{base.label}: what one change does to the AUC",
        caption=(
            f"AUC of the changed model minus AUC of {base.label} on the same test rows: mean over the "
            "seeds that both have (bar), 95 % bootstrap interval over test users (line), every seed (small "
            "points). A filled bar: the interval excludes 0. missing: no scores that can be compared."
        ),
        columns=COLUMNS,
        rows=[_numbers(one) for one in variants],
        draw=partial(_draw, variants=variants),
        height=0.75 + 0.3 * len(variants),
    )


def _numbers(one: Compared) -> list[object]:
    found = [one.found.get(metric) for metric in METRICS]
    values = [(None,) * 3 if d is None else (d.value, d.low, d.high) for d in found]
    by_seed = one.found["auc"].by_seed if one.found else ()
    return [
        one.first.label,
        one.second.label,
        " ".join(map(str, one.seeds)),
        *(number for triple in values for number in triple),
        " ".join(map(str, by_seed)),
    ]


def _draw(figure: Figure, variants: Sequence[Compared]) -> None:
    axis = figure.subplots()
    for place, one in enumerate(variants):
        if not one.found:
            axis.text(0, place, " missing", va="center", fontsize=8)
            continue
        auc = one.found["auc"]
        filled = COLORS[4] if auc.excludes_zero else "white"
        axis.barh(place, auc.value, height=0.5, color=filled, edgecolor=COLORS[0])
        axis.plot([auc.low, auc.high], [place, place], color=COLORS[6], marker="|", linewidth=1.2)
        axis.plot(auc.by_seed, [place] * len(auc.by_seed), "o", color=COLORS[1], markersize=2.5)
    axis.axvline(0, color=COLORS[6], linewidth=0.8)
    axis.set_yticks(range(len(variants)), [_change(one) for one in variants], fontsize=8)
    axis.set_ylim(len(variants) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.08)
    axis.set_xlabel("difference of AUC", fontsize=8)
    axis.tick_params(axis="x", labelsize=8)


def _change(one: Compared) -> str:
    """The settings by which the first differs from the second, on lines of their own where they are many."""
    base = one.second.variant
    told = {key: value for key, value in one.first.variant.items() if key not in base}
    return textwrap.fill(label_of("", told).strip(), 44)
