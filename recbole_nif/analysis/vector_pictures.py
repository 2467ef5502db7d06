"""Intents and targets on one plane (GenCI, Figure 4): whether an intent lies where its target does."""

import numpy as np
import torch

from recbole_nif.analysis.projections import PROJECTIONS, project
from recbole_nif.analysis.runs import Variant
from recbole_nif.audit.report import aligned
from recbole_nif.model.layers.sphere import unit
from recbole_nif.plot_style import COLORS, MARKERS, picture, write_csv

MOST_POINTS = 400  # of each kind
TARGET = "target"


def draw_vectors(subject, options, variant: Variant) -> list[str]:
    """Draws the vectors that the model gives for clicked test rows, all of length 1.

    Args:
        subject: ``model_pictures.Subject``; options: ``out`` and ``projection``; variant: what is drawn.

    Returns:
        paragraphs of markdown; none for a model without vectors.
    """
    rows = subject.test_rows(MOST_POINTS, clicked=True)
    batches = [explanation.vectors for explanation in subject.explanations(rows)]
    if not batches or not batches[0]:
        return []
    vectors = {kind: unit(torch.cat([batch[kind] for batch in batches])).cpu() for kind in batches[0]}
    points = project(torch.cat(list(vectors.values())).numpy(), options.projection)
    places = dict(zip(vectors, np.split(points, len(vectors)), strict=True))
    with picture(options.out / f"{variant.file_name}-vectors.png", width=6.5, height=5) as figure:
        panel = figure.subplots()
        for number, (kind, xy) in enumerate(places.items()):
            panel.scatter(*xy.T, s=14, alpha=0.6, color=COLORS[number], marker=MARKERS[number], label=kind)
        panel.set(title=f"{len(rows)} clicked test rows, {PROJECTIONS[options.projection]} of directions")
        panel.set(xlabel="first axis", ylabel="second axis", xticks=[], yticks=[])
        figure.suptitle(variant.label)
        figure.legend(loc="outside lower center", ncols=len(places))
    log = subject.log
    users, items = (column[log.position[rows].long()].tolist() for column in (log.user, log.item))
    tokens = subject.views[0].field2id_token
    user_tokens, item_tokens = tokens[subject.views[0].uid_field], tokens[subject.views[0].iid_field]
    lines = [
        (kind, int(row), user_tokens[user], item_tokens[item], *map(float, point))
        for kind, xy in places.items()
        for row, user, item, point in zip(rows, users, items, xy, strict=True)
    ]
    write_csv(
        options.out / f"{variant.file_name}-vectors.csv", ("kind", "row", "user", "item", "x", "y"), lines
    )
    return _told(vectors)


def _told(vectors: dict[str, torch.Tensor]) -> list[str]:
    """How near each kind is to its own row's target, and to the target of another row."""
    target = vectors.get(TARGET)
    if target is None or len(target) < 2:
        return []
    lines = [("vector", "cosine with its own target", "with another row's")]
    for kind, own in vectors.items():
        if kind != TARGET:
            other = (own * target.roll(len(target) // 2, 0)).sum(1).mean()
            lines.append((kind, f"{float((own * target).sum(1).mean()):.4f}", f"{float(other):.4f}"))
    return ["Mean over clicked test rows, on directions:", aligned(lines)]
