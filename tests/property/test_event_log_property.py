"""Windows, gaps and pairs of generated logs against slow references that sort Python tuples.

Events are named by their ``rating``, which no other event of the log has.
"""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_nif.data.event_log import NO_LABEL, NO_ROW, EventLog, EventTable
from recbole_nif.data.fields import GAP_BUCKETS
from recbole_nif.data.pairs import PairSampler
from tests.logs import make_table

MINUTE = 60
KINDS = {"clicks": (1,), "samples": (0, 1), "moveline": (NO_LABEL, 0, 1)}  # labels of the events in a window


@st.composite
def tables(draw, labels=(0, 1)):
    """Up to 40 events of three users, many of them simultaneous, some before 1970, in any order."""
    size = draw(st.integers(1, 40))
    user, item, time, label = (
        np.array(draw(st.lists(values, min_size=size, max_size=size)))
        for values in (
            st.integers(1, 3),
            st.integers(1, 6),
            st.integers(-3, 8),
            st.sampled_from(labels),
        )
    )
    time = time * MINUTE / draw(st.sampled_from([1, 7.5])) if draw(st.booleans()) else time * MINUTE
    label[draw(st.integers(0, size - 1))] = draw(st.integers(0, 1))  # at least one row
    is_row = label != NO_LABEL
    return EventTable(
        user=user, item=item, timestamp=time, label=label, rating=np.arange(size), scene=np.ones(size, int),
        behavior=label + 1, row_id=np.where(is_row, np.cumsum(is_row) - 1, NO_ROW),
        item_rank=np.array(draw(st.permutations(range(7)))),
    )  # fmt: skip


def build(table: EventTable, strict: bool = True) -> EventLog:
    return EventLog.build(table, n_users=4, strict=strict)


def events_of(table: EventTable, user: int) -> list[int]:
    """A user's events in the order of the log."""

    def key(event):
        return table.timestamp[event], table.item_rank[table.item[event]], table.row_id[event]

    return sorted(np.flatnonzero(table.user == user).tolist(), key=key)


def training_events(table: EventTable, share: float) -> list[int]:
    """The first part of every user's rows."""
    chosen = []
    for user in (1, 2, 3):
        rows = [event for event in events_of(table, user) if table.label[event] != NO_LABEL]
        chosen += rows[: math.ceil(share * len(rows))]
    return chosen


def visible_events(table: EventTable, event: int, strict: bool, trained: list[int] | None) -> list[int]:
    """What a row may see; ``trained``: its history is frozen after the user's last training event."""
    mine = events_of(table, table.user[event])
    past = mine[: mine.index(event)]
    if strict:
        past = [other for other in past if table.timestamp[other] < table.timestamp[event]]
    if trained is not None:
        last = max((mine.index(other) for other in trained if other in mine), default=-1)
        past = [other for other in past if mine.index(other) <= last]
    return past


@settings(max_examples=200, deadline=None)
@given(
    tables(labels=(NO_LABEL, 0, 1)),
    st.booleans(),
    st.sampled_from([None, 0.0, 0.5, 1.0]),
    st.sampled_from(sorted(KINDS)),
    st.integers(1, 6),
)
def test_windows_and_gaps_equal_a_slow_reference(table, strict, share, kind, length):
    log, trained = build(table, strict), None
    if share is not None:  # history_until: train
        trained = training_events(table, share)
        log = log.freeze_after(torch.from_numpy(table.row_id[trained]).long())
    events = np.flatnonzero(table.label != NO_LABEL)
    rows = torch.from_numpy(table.row_id[events])
    positions, mask = log.window(rows, length, kind)
    gaps = log.row_gap(rows).tolist()
    assert positions.shape == mask.shape == (len(events), length)
    assert not positions[~mask].any()
    for place, event in enumerate(events):
        past = visible_events(table, event, strict, trained)
        expected = [other for other in past if table.label[other] in KINDS[kind]][-length:]
        assert log.rating[positions[place][mask[place]]].int().tolist() == expected
        since = (table.timestamp[event] - table.timestamp[past[-1]]) / MINUTE if past else math.inf
        assert gaps[place] == min(GAP_BUCKETS - 1, math.log2(1 + since) // 1)


@settings(max_examples=100, deadline=None)
@given(tables(labels=(NO_LABEL, 0, 1)), st.booleans())
def test_the_log_is_the_sorted_table(table, strict):
    log = build(table, strict)
    order = [event for user in (1, 2, 3) for event in events_of(table, user)]
    assert log.rating.int().tolist() == order
    assert log.timestamp.tolist() == table.timestamp[order].tolist()
    assert log.label.tolist() == table.label[order].tolist()
    for row, position in enumerate(log.position.tolist()):
        assert log.row_id[position] == row
    for position, event in enumerate(order):
        group = [
            place
            for place, other in enumerate(order)
            if (table.user[other], table.timestamp[other]) == (table.user[event], table.timestamp[event])
        ]
        assert [int(log.tie_begin[position]), int(log.tie_end[position])] == [group[0], group[-1] + 1]


def slow_partners(table: EventTable, event: int, trained: list[int], mode: str, k: int, window) -> list[int]:
    """All partners that a training row may get: of its user, trained on and of the opposite label."""
    time = table.timestamp
    mine = [
        other
        for other in events_of(table, table.user[event])
        if other in trained and table.label[other] == 1 - table.label[event]
    ]
    if mode == "random":
        return mine
    if mode == "same_time":
        return [other for other in mine if time[other] == time[event]]
    near = [other for other in mine if window is None or abs(time[other] - time[event]) <= window]
    earlier = [other for other in near if time[other] < time[event]]
    later = [other for other in near if time[other] > time[event]]
    return earlier[-k:] or later[:k]


@settings(max_examples=200, deadline=None)
@given(
    tables(labels=(NO_LABEL, 0, 1)),
    st.sampled_from(["logit", "shift", "both", "random", "same_time"]),
    st.sampled_from([1, 2, 3, None]),
    st.sampled_from([None, 2 * MINUTE]),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_partners_equal_a_slow_reference(table, mode, neighbors, window, share):
    """``neighbors`` None: partner ``random``, among all earlier or all later rows."""
    trained = training_events(table, share)
    sampler = PairSampler(
        build(table),
        torch.from_numpy(table.row_id[trained]).long(),
        mode=mode,
        partner="random" if neighbors is None else "nearest",
        neighbors=neighbors or 5,
        window=window,
        ratio=1.0,
        seed=7,
    )
    drawn = np.stack([sampler.draw(epoch).numpy() for epoch in range(3)])  # [epochs, rows]
    assert drawn.shape[1] == (table.label != NO_LABEL).sum()
    for place, event in enumerate(trained):
        expected = table.row_id[slow_partners(table, event, trained, mode, neighbors or 40, window)]
        low, high = (bound[place] + sampler.shift[place] for bound in (sampler.low, sampler.high))
        assert sampler.row_of[sampler.opposite[low:high]].tolist() == expected.tolist()
        assert np.isin(drawn[:, table.row_id[event]], expected if len(expected) else [-1]).all()
    others = np.setdiff1d(table.row_id[table.row_id != NO_ROW], table.row_id[trained])
    assert (drawn[:, others] == -1).all()


@settings(max_examples=200, deadline=None)
@given(tables(labels=(NO_LABEL, 0, 1)), st.integers(1, 3), st.sampled_from([None, 2 * MINUTE]), st.data())
def test_a_partner_in_the_batch_is_the_nearest_neighbor_there(table, neighbors, window, data):
    events = np.flatnonzero(table.row_id != NO_ROW).tolist()
    sampler = PairSampler(
        build(table),
        torch.from_numpy(table.row_id[events]).long(),
        partner="in_batch",
        neighbors=neighbors,
        window=window,
        ratio=0.8,
        seed=7,
    )
    batch = data.draw(st.permutations(events))[: data.draw(st.integers(1, len(events)))]
    rows = torch.from_numpy(table.row_id[batch]).long()
    drawn = sampler.draw(0)[rows]
    for event, partner, place in zip(
        batch, drawn.tolist(), sampler.in_batch(rows, drawn).tolist(), strict=True
    ):
        expected = slow_partners(table, event, events, "logit", neighbors, window)
        if expected and table.timestamp[expected[0]] < table.timestamp[event]:
            expected = expected[::-1]  # the nearest first
        here = [other for other in expected if other in batch and partner >= 0]
        assert place == (batch.index(here[0]) if here else -1)


def test_a_partner_is_drawn_for_the_given_share_of_rows():
    table = make_table([1] * 4000, [1] * 4000, np.arange(4000), [0, 1] * 2000)
    sampler = PairSampler(build(table), torch.arange(4000), ratio=0.3, seed=1)
    assert abs(float((sampler.draw(0) >= 0).double().mean()) - 0.3) < 0.03


def test_draws_depend_on_seed_and_epoch_only():
    table = make_table([1] * 40, [1] * 40, np.arange(40), [0, 1] * 20)
    first, again, other = (PairSampler(build(table), torch.arange(40), seed=s) for s in (1, 1, 2))
    first.draw(5)
    assert torch.equal(first.draw(0), again.draw(0))
    assert not torch.equal(first.draw(0), first.draw(1))
    assert not torch.equal(first.draw(0), other.draw(0))
