"""Views of a dataset whose log has been changed in memory: other events, flipped or shuffled labels.

Users, times and the order of events always stay; what an event *was* changes. Samples exchange with
samples and moveline events with moveline events, so that every row remains a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_nif.data.event_log import EventLog
from recbole_nif.data.fields import ROW_ID

EVENT = ("item", "label", "rating", "scene", "behavior")  # what an event was, besides its user and time


@dataclass(frozen=True)
class Change:
    """A changed log, the rows' own columns to go with it, and how many events differ."""

    log: EventLog
    rows: Interaction
    events: int


def exchange(dataset, member: Tensor, generator: torch.Generator) -> Change:
    """Every event of ``member`` (bool [N]) becomes what another random member was.

    Drawn with replacement, so that totals change too, such as how often an item comes.
    """
    log = dataset.event_log
    source = torch.arange(len(log))
    is_sample = log.row_id >= 0
    for places in (torch.nonzero(member & kind).squeeze(1) for kind in (is_sample, ~is_sample)):
        if len(places) > 1:
            steps = torch.randint(1, len(places), places.shape, generator=generator)  # none meets itself
            source[places] = places[(torch.arange(len(places)) + steps) % len(places)]
    changed = log.with_events(**{name: getattr(log, name)[source] for name in EVENT})
    differs = torch.stack([getattr(changed, name) != getattr(log, name) for name in EVENT]).any(0)

    source_row = log.row_id[source[log.position.long()]].long()  # by row id
    own = (ROW_ID, dataset.uid_field, dataset.time_field)
    columns = dataset.all_rows
    rows = {name: columns[name] if name in own else columns[name][source_row] for name in columns.columns}
    return Change(changed, Interaction(rows), int(differs.sum()))


def flip_labels(dataset, flipped: Tensor) -> Change:
    """The rows ``flipped`` [B] get the other label, with its behavior, and the mirrored rating."""
    log = dataset.event_log
    position = log.position[flipped].long()
    step = 1 - 2 * log.label[position]  # of label and behavior alike, see log_builder
    label, rating, behavior = log.label.clone(), log.rating.clone(), log.behavior.clone()
    label[position] += step
    behavior[position] += step
    rating[position] = _mirrored(log.rating[log.position.long()])[flipped]  # of samples, by row id

    rows = Interaction({name: dataset.all_rows[name].clone() for name in dataset.all_rows.columns})
    rows[dataset.label_field][flipped] = 1 - rows[dataset.label_field][flipped]
    rating_field = dataset.config["RATING_FIELD"]
    if rating_field in rows:
        rows[rating_field][flipped] = _mirrored(rows[rating_field])[flipped]
    return Change(log.with_events(label=label, rating=rating, behavior=behavior), rows, len(flipped))


def shuffle_labels_in_ties(dataset, generator: torch.Generator) -> Change:
    """Labels, with ratings and behaviors, change places among a user's simultaneous samples.

    The rows' own columns stay, and with them the labels that a metric compares with.
    """
    log = dataset.event_log
    samples = torch.nonzero(log.row_id >= 0).squeeze(1)
    shuffled = samples[torch.randperm(len(samples), generator=generator)]
    shuffled = shuffled[log.tie_begin[shuffled].argsort(stable=True)]  # random inside each group
    source = torch.arange(len(log))
    source[samples] = shuffled
    columns = {name: getattr(log, name)[source] for name in ("label", "rating", "behavior")}
    return Change(log.with_events(**columns), dataset.all_rows, int((columns["label"] != log.label).sum()))


def _mirrored(ratings: Tensor) -> Tensor:
    return ratings.min() + ratings.max() - ratings
