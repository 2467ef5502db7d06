"""The parts of an explanation, for a reader: tables whose numbers can be drawn as bars."""

from dataclasses import dataclass
from textwrap import shorten

import torch
from torch import Tensor

from recbole_nif.analysis.cases import Case
from recbole_nif.analysis.names import Names
from recbole_nif.model.explanation import Attention, Cohorts, Explanation, Flow

NEAREST = 3  # items of a flow vector
COHORT = 4  # items of a cohort that are named
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
WEIGHT = "how much the candidate reads of it"
LABELS = {1: "click", 0: "no click"}


@dataclass(frozen=True)
class Part:
    """A table.

    Attributes:
        title, note: what it shows.
        columns: heads of the cells, then of the series.
        cells: texts of each line.
        series: name -> number of each line.
        bars: what each line is called in a picture; axis: what its bars measure.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    cells: list[tuple[str, ...]]
    series: dict[str, list[float]]
    bars: list[str]
    axis: str


def parts_of(explanation: Explanation, case: Case, view, names: Names, top: int) -> list[Part]:
    """The tables of a row's explanation.

    Args:
        explanation: of a batch that holds this row alone; view: of the dataset.
        top: how many events and scenes are listed.
    """
    parts = []
    for kind in ("history", "moveline"):
        attentions = [attention for attention in explanation.attentions if attention.events == kind]
        if attentions:
            parts += _events(kind, attentions, case, view, names, top)
    if explanation.flow is not None:
        parts.append(_flow(explanation.flow, case, view, names))
    if explanation.cohorts is not None:
        parts.append(_cohorts(explanation.cohorts, case, view, names))
    return parts


def _events(kind: str, attentions: list[Attention], case: Case, view, names: Names, top: int) -> list[Part]:
    """The events that weigh most, in the order of time; of a moveline also its scenes."""
    log, row = view.event_log, torch.tensor([case.row])
    length = int(attentions[0].length[0])
    positions = log.window(row, length, view.history.kind if kind == "history" else "moveline")[0][0]  # [m]
    weights = torch.stack([attention.weight[0, :length].float().cpu() for attention in attentions])  # [A, m]
    strongest = weights.abs().amax(0).topk(min(top, length)).indices.sort().values
    time = log.row_time(row)[0]
    cells, bars = [], []
    for place in positions[strongest].tolist():
        item, label = int(log.item[place]), LABELS.get(int(log.label[place]), "")
        scenes, title = names.scene_set(int(log.scene[place])), names.title(item) if item else "(no item)"
        before = ago(float(time - log.timestamp[place]))
        cells.append((before, names.items[item] if item else "", title, scenes, label))
        bars.append(f"{_short(title, 34)} ({', '.join(filter(None, [f'{before} before', label]))})")
    series = {a.name: weights[n][strongest].tolist() for n, a in enumerate(attentions)}
    shown = f"The {len(cells)} of {length} events with the largest weights" if length > top else "All events"
    note = f"{shown}; how long before, and what became of them." if length else "The row sees no event."
    columns = ("before", "item", "title", "scenes", "label", *series)
    parts = [Part(f"Attention over the {kind}, oldest first", note, columns, cells, series, bars, WEIGHT)]
    if kind == "moveline" and length:
        parts.append(_scenes(attentions, weights, log.scene[positions].long(), names, top))
    return parts


def _scenes(attentions: list[Attention], weights: Tensor, sets: Tensor, names: Names, top: int) -> Part:
    """weights: [A, m]; sets: [m] scene sets of the events."""
    members = names.elementary(sets)  # [m, S]
    share = (members != 0) / (members != 0).sum(1, keepdim=True).clamp(min=1)
    by_scene = weights.new_zeros(len(weights), len(names.scenes))
    by_scene.index_add_(1, members.flatten(), (weights.unsqueeze(-1) * share).flatten(1))
    by_scene[:, 0] = 0
    heaviest = by_scene.sum(0).topk(min(top, int((by_scene.sum(0) > 0).sum()))).indices
    labels = [names.scenes[scene] for scene in heaviest.tolist()]
    series = {a.name: by_scene[n][heaviest].tolist() for n, a in enumerate(attentions)}
    note = "Weights summed by scene; an event with several scenes counts for each in equal parts."
    cells = [(label,) for label in labels]
    return Part("Scenes of the moveline", note, ("scene", *series), cells, series, labels, WEIGHT)


def _flow(flow: Flow, case: Case, view, names: Names) -> Part:
    cosine = (flow.vectors[0] @ flow.items.T)[:, 1:].cpu()  # [K, n_items - 1], without padding
    values, nearest = cosine.topk(min(NEAREST, cosine.shape[1]), dim=1)  # [K, NEAREST]
    own = cosine[:, case.item - 1]  # [K]
    rank = (cosine >= own.unsqueeze(1)).sum(1)
    cells, bars, series = [], [], {"cosine": [], "candidate's cosine": [], "read": []}
    for slot in range(len(cosine)):
        vector, place = f"f{slot + 1}", f"{int(rank[slot]):,}"
        for value, item in zip(values[slot].tolist(), (nearest[slot] + 1).tolist(), strict=True):
            scenes = names.scene_set(int(view.item_scene[item]))
            cells.append((vector, names.items[item], names.title(item), scenes, place))
            bars.append(f"{vector}: {_short(names.title(item), 48)}")
            series["cosine"].append(value)
            series["candidate's cosine"].append(float(own[slot]))
            series["read"].append(float(flow.weight[0, slot]))
    note = (
        f"Flow vectors f1 to f{len(cosine)}, the next clicks in order, with their nearest items by cosine; "
        f"the candidate's rank among all {cosine.shape[1]:,} items; read: how much it takes of the vector."
    )
    columns = ("vector", "item", "title", "scenes", "candidate's rank", *series)
    title = "Next interest flow and its nearest items"
    return Part(title, note, columns, cells, series, bars, "cosine with the flow vector")


def _cohorts(cohorts: Cohorts, case: Case, view, names: Names) -> Part:
    cells, bars, sizes = [], [], []
    for level, code in enumerate(cohorts.codes[0].tolist()):
        members = torch.nonzero(cohorts.item_codes[:, level].cpu() == code).squeeze(1)
        clicks = view.train_item_count[members]
        known = members[clicks.argsort(descending=True, stable=True)][:COHORT].tolist()
        own = "yes" if int(cohorts.own[0, level]) == code else "no"
        titles = "; ".join(names.title(item) for item in known)
        cells.append((str(level + 1), str(code), f"{len(members):,}", own, titles))
        few = f"{len(members):,} items: {titles}"
        bars.append(f"level {level + 1}, code {code}\n{_short(few, 52)}")
        sizes.append(float(len(members)))
    weight = cohorts.weight
    series = {"size": sizes} if weight is None else {"read": weight[0].tolist()}
    axis = "items" if weight is None else WEIGHT
    note = f"The code of each level, how many items share it, the {COHORT} of them with most training clicks."
    columns = ("level", "code", "items", "candidate's too", "most clicked items of the cohort", *series)
    return Part("Generated interest cohorts", note, columns, cells, series, bars, axis)


def _short(text: str, width: int) -> str:
    return shorten(text, width=width, placeholder=" …")


def ago(seconds: float) -> str:
    """A span of time in its largest unit, such as ``3.2 h``."""
    size, unit = next((entry for entry in UNITS if seconds >= entry[0]), UNITS[-1])
    count = seconds / size
    return f"{count:.0f} {unit}" if count >= 10 or size == 1 else f"{count:.1f} {unit}"
