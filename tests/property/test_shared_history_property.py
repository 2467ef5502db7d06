"""Histories that the rows of a batch share, against the windows that every row would read alone."""

from types import SimpleNamespace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.data.interaction import Interaction

from recbole_nif.data import fields
from recbole_nif.data.history import HistoryReader
from recbole_nif.data.needs import Needs
from tests.property.test_event_log_property import build, tables
from tests.unit.doubles import fake_config


def reader(log, form: str, length: int, stride: int | None, kind: str) -> HistoryReader:
    config = fake_config(
        MAX_ITEM_LIST_LENGTH=length, history_stride=stride, history=kind, NEG_PREFIX="neg_", seed=0
    )
    needs = Needs(history_windows=form, history_labels=kind == "all_with_label", history_scenes=True)
    return HistoryReader(
        SimpleNamespace(config=config, event_log=log, needs=needs, iid_field="item_id", label_field="label")
    )


def read(history: HistoryReader, rows: torch.Tensor) -> Interaction:
    batch = Interaction({fields.ROW_ID: rows})
    history.add(batch, rows)
    return batch


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_every_row_reads_its_own_last_events_and_nothing_else(data):
    table = data.draw(tables())
    log = build(table, strict=data.draw(st.booleans()))
    form = data.draw(st.sampled_from(["window", "packed"]))
    kind = data.draw(st.sampled_from(["clicks", "all_with_label"]))
    length = data.draw(st.integers(1, 6))
    stride = data.draw(st.integers(1, length)) if data.draw(st.booleans()) else None
    n_rows = len(log.position)
    rows = torch.tensor(data.draw(st.lists(st.integers(0, n_rows - 1), min_size=1, max_size=12)))
    batch = read(reader(log, form, length, stride, kind), rows)

    step = (stride or -(-length // 2)) if form == "packed" else 1
    whole, mask = log.window(rows, len(log), "clicks" if kind == "clicks" else "moveline")
    for row in range(len(rows)):
        events = whole[row][mask[row]]
        history = batch[fields.HISTORY_OF][row]
        window, cut = batch[fields.HISTORY_WINDOW][history], int(batch[fields.HISTORY_CUT][history])
        assert min(len(events), length - step + 1) <= cut <= min(len(events), length)
        items = batch[fields.HISTORY_ITEM][window][:cut]
        assert items.tolist() == log.item[events[len(events) - cut :]].tolist()
        scenes = batch[fields.HISTORY_SCENE][window][:cut]
        assert scenes.tolist() == log.scene[events[len(events) - cut :]].tolist()
        if kind == "all_with_label":
            labels = batch[fields.HISTORY_LABEL][window][:cut]
            assert labels.tolist() == (1 + log.label[events[len(events) - cut :]]).tolist()
        if form == "window":
            assert not batch[fields.HISTORY_ITEM][window][cut:].any()


@given(tables(), st.sampled_from(["window", "packed"]))
@settings(max_examples=60, deadline=None)
def test_rows_share_as_much_as_they_can(table, form):
    log = build(table)
    rows = torch.arange(len(log.position))
    history = reader(log, form, 4, 2, "clicks")
    batch = read(history, rows)
    n_histories, n_windows = len(batch[fields.HISTORY_CUT]), len(batch[fields.HISTORY_ITEM])
    begin, end = history._history_range(rows)
    seen = {(b, e) if b < e else "empty" for b, e in zip(begin.tolist(), end.tolist(), strict=True)}
    assert n_windows <= n_histories
    assert len(seen) <= n_histories <= len(seen) + 3  # empty histories of three users may stand apart
    assert len(set(history.row_groups(rows).tolist())) == n_windows
    assert batch[fields.HISTORY_ITEM].shape[1] == max(1, int(batch[fields.HISTORY_CUT].max()))
