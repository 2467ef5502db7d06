"""A model's flow over time, and the diversity and velocity that it reaches, beside those of the next clicks.

Of K unit vectors, in degrees on the sphere of the item space:

    diversity = mean angle between two of them ,   velocity = mean angle from one to the next

The next clicks of a row, the row itself among them, are the future: they measure here, no model sees them.
"""

import numpy as np
import torch
from torch import Tensor

from recbole_nif.analysis.projections import PROJECTIONS, project
from recbole_nif.analysis.runs import Variant
from recbole_nif.audit.report import aligned
from recbole_nif.evaluation.flow_probe import mean_angles
from recbole_nif.plot_style import COLORS, MARKERS, picture, write_csv

MOST_STEPS = 60  # rows of the user whose flow is followed
BINS = 10
MEASURES = {"diversity": "between two vectors", "velocity": "from one vector to the next"}
COLUMNS = ("row", "user", "events seen", *MEASURES, *(f"{name} of the next clicks" for name in MEASURES))


def draw_flow(subject, options, variant: Variant) -> list[str]:
    """Draws one user's flow over time, and both measures by the number of events that a test row sees.

    Args:
        subject: ``model_pictures.Subject``; options: ``out`` and ``projection``; variant: what is drawn.

    Returns:
        paragraphs of markdown; none for a model without a flow of at least two vectors.
    """
    rows = subject.test_rows()
    flow, items = _flows(subject, rows)
    if flow is None or flow.shape[1] < 2:
        return []
    begin, end = subject.log.visible(rows)
    clicks, known = next_clicks(subject.log, rows, flow.shape[1])
    measured = [*mean_angles(flow), *(value.where(known, torch.nan) for value in mean_angles(items[clicks]))]
    values = torch.stack(measured, 1).numpy()  # [N, 4]
    seen = (end - begin).numpy()
    users = subject.log.user[subject.log.position[rows].long()].tolist()
    tokens = subject.views[0].field2id_token[subject.views[0].uid_field]
    lines = zip(
        rows.tolist(), (tokens[user] for user in users), seen.tolist(), *values.T.tolist(), strict=True
    )
    write_csv(options.out / f"{variant.file_name}-flow.csv", COLUMNS, lines)

    with picture(options.out / f"{variant.file_name}-flow.png", width=11, height=4.4) as figure:
        path_panel, *panels = figure.subplots(1, 3, width_ratios=[1.5, 1, 1])
        path = _draw_path(subject, options, figure, path_panel)
        write_csv(options.out / f"{variant.file_name}-path.csv", ("row", "vector", "x", "y"), path)
        for number, (panel, measure) in enumerate(zip(panels, MEASURES, strict=True)):
            for place, label in ((number, "flow"), (number + 2, "next clicks")):
                x, y = binned(seen, values[:, place])
                look = {"color": COLORS[place > 1], "marker": MARKERS[place > 1], "label": label}
                panel.plot(x, y, **look)
            panel.set(title=f"{measure}: mean angle\n{MEASURES[measure]}", ylabel="degrees")
            panel.set_xlabel("events that the row sees")
            panel.set_ylim(bottom=0)
        panels[0].legend()
        figure.suptitle(
            f"{variant.label}: the generated flow over time, diversity and velocity reached on test rows"
        )
    return _told(values)


def _flows(subject, rows: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """The flow of rows [N, K, d] and all items [n_items, d] on the CPU, all of length 1."""
    flows = [explanation.flow for explanation in subject.explanations(rows)]
    if not flows or flows[0] is None:
        return None, None
    return torch.cat([flow.vectors for flow in flows]).float().cpu(), flows[0].items.float().cpu()


def next_clicks(log, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The items of the next ``count`` clicks, each row included: [N, count]; are there so many: [N] bool."""
    position = log.position[rows].long()
    first, last = log.clicks.range(position, log.offsets[log.user[position].long() + 1])
    slot = first.unsqueeze(1) + torch.arange(count)
    places = log.clicks.positions[slot.clamp(max=len(log.clicks.positions) - 1)].long()
    return log.item[places].long(), last - first >= count


def binned(x: np.ndarray, y: np.ndarray, bins: int = BINS) -> tuple[np.ndarray, np.ndarray]:
    """Means of x and y [N] in ``bins`` parts of equal size by x, NaN of y left out."""
    order = np.argsort(x, kind="stable")
    order = order[~np.isnan(y[order])]
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return np.array([x[part].mean() for part in parts]), np.array([y[part].mean() for part in parts])


def _draw_path(subject, options, figure, panel) -> list[tuple]:
    """The flow of the user with most clicks in the test split, row by row, and the items clicked meanwhile.

    Returns:
        the points: row id, vector or "clicked", x, y.
    """
    log, tested = subject.log, subject.views[2].inter_feat
    user = int(tested[subject.views[2].uid_field].bincount(tested[subject.views[2].label_field]).argmax())
    own = log.row_id[log.offsets[user] : log.offsets[user + 1]]
    rows = own[own >= 0][-MOST_STEPS:].long()
    flow, items = _flows(subject, rows)
    clicked = log.label[log.position[rows].long()] == 1
    n_slots, targets = flow.shape[1], items[subject.item(rows[clicked])]
    points = project(torch.cat([flow.flatten(0, 1), targets]).numpy(), options.projection)
    path, goals = points[: len(rows) * n_slots].reshape(len(rows), n_slots, 2), points[len(rows) * n_slots :]
    steps = np.arange(len(rows))
    look = {"cmap": "viridis", "vmin": 0, "vmax": max(1, len(rows) - 1)}
    panel.plot(*path[:, 0].T, color="#BBBBBB", linewidth=0.7, marker="")
    panel.scatter(*goals.T, c=steps[clicked.numpy()], marker="x", s=30, label="clicked item", **look)
    for slot in range(n_slots):
        marks = panel.scatter(*path[:, slot].T, c=steps, marker=MARKERS[slot % len(MARKERS)], s=22, **look)
        marks.set_label(f"f{slot + 1}")
    token = subject.views[0].field2id_token[subject.views[0].uid_field][user]
    panel.set(
        title=f"last {len(rows)} rows of user {token} ({PROJECTIONS[options.projection]})",
        xticks=[],
        yticks=[],
    )
    legend = panel.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.02), ncols=5)
    for handle in legend.legend_handles:
        handle.set_array(None)
        handle.set_color("#444444")
    figure.colorbar(marks, ax=panel, label="row, from past to present")
    lines = [
        (int(row), f"f{n + 1}", *map(float, path[t, n])) for t, row in enumerate(rows) for n in range(n_slots)
    ]
    return lines + [
        (int(row), "clicked", *map(float, p)) for row, p in zip(rows[clicked], goals, strict=True)
    ]


def _told(values: np.ndarray) -> list[str]:
    """values: [N, 4], as in ``COLUMNS``."""
    lines = [("mean over test rows, degrees", "flow", "next clicks", "rows with so many clicks")]
    known = int((~np.isnan(values[:, 2])).sum())
    for place, measure in enumerate(MEASURES):
        flow, clicks = (np.nanmean(values[:, column]) if known else np.nan for column in (place, place + 2))
        lines.append((measure, f"{flow:.1f}", f"{clicks:.1f}", f"{known:,} of {len(values):,}"))
    return [aligned(lines)]
