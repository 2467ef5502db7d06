import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_nif.data.event_log import EventLog
from recbole_nif.data.pairs import PairSampler
from tests.logs import make_table, slow_history


@st.composite
def tables(draw):
    size = draw(st.integers(1, 40))
    columns = [
        draw(st.lists(st.integers(low, high), min_size=size, max_size=size))
        for low, high in ((1, 3), (1, 6), (0, 8), (0, 1))
    ]
    ranks = draw(st.permutations(range(7)))
    return make_table(*columns, item_rank=ranks)


def build(table, strict=True):
    return EventLog.build(table, n_users=4, strict=strict)


@settings(max_examples=150, deadline=None)
@given(tables(), st.booleans(), st.booleans(), st.integers(1, 6))
def test_windows_equal_a_slow_reference(table, strict, clicks_only, length):
    log = build(table, strict)
    rows = torch.arange(len(table.user))
    positions, mask = log.window(rows, length, "clicks" if clicks_only else "moveline")
    for row in range(len(rows)):
        got = log.row_id[positions[row][mask[row]]].tolist()
        assert got == slow_history(table, row, strict, clicks_only, length)


@settings(max_examples=150, deadline=None)
@given(tables(), st.sampled_from(["nearest", "random"]), st.sampled_from([None, 2]), st.integers(0, 5))
def test_partners_have_the_opposite_label_another_time_and_the_same_user(table, partner, window, epoch):
    log = build(table)
    train = torch.arange(0, len(table.user), 2)
    sampler = PairSampler(log, train, partner=partner, window=window, ratio=1.0, seed=7)
    drawn = sampler.draw(epoch).numpy()
    trained = set(train.tolist())
    for row, other in enumerate(drawn):
        candidates = [
            r
            for r in trained
            if table.user[r] == table.user[row]
            and table.label[r] != table.label[row]
            and table.timestamp[r] != table.timestamp[row]
            and (window is None or abs(int(table.timestamp[r]) - int(table.timestamp[row])) <= window)
        ]
        earlier = [r for r in candidates if table.timestamp[r] < table.timestamp[row]]
        if row in trained and candidates:
            assert other in (earlier or candidates)
        else:
            assert other == -1


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(1, 3))
def test_nearest_partners_are_the_nearest_earlier_ones(table, neighbors):
    log = build(table)
    sampler = PairSampler(log, torch.arange(len(table.user)), neighbors=neighbors, ratio=1.0, seed=3)
    place = log.position.numpy()
    for row, other in enumerate(sampler.draw(0).numpy()):
        earlier = [
            place[r]
            for r in range(len(table.user))
            if table.user[r] == table.user[row]
            and table.label[r] != table.label[row]
            and table.timestamp[r] < table.timestamp[row]
        ]
        if earlier:
            assert place[other] in sorted(earlier)[-neighbors:]


def test_draws_depend_on_seed_and_epoch_only():
    table = make_table([1] * 40, [1] * 40, np.arange(40), [0, 1] * 20)
    first, again, other = (PairSampler(build(table), torch.arange(40), seed=s) for s in (1, 1, 2))
    first.draw(5)
    assert torch.equal(first.draw(0), again.draw(0))
    assert not torch.equal(first.draw(0), first.draw(1))
    assert not torch.equal(first.draw(0), other.draw(0))
