"""Batches: their order, their pairs, and the shares of several processes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_nif.data import fields
from recbole_nif.data.batching import cut_batches, share_of
from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.data.views import loader_of_view
from tests.toy import ROWS, toy_config, toy_dataset, write_toy


def test_pairs_follow_their_samples_and_have_the_opposite_label(tmp_path):
    train, _, _ = toy_dataset(tmp_path, "AMEN", tsp_ratio=1.0, tsp_partner="nearest")
    loader = CTRDataLoader(train.config, train, "train", shuffle=True)
    pairs = 0
    for batch in loader:
        owner, added = batch[fields.PAIR_OF], batch[fields.ADDED]
        samples = int((~added).sum())
        assert (owner[:samples] < 0).all() and (owner[samples:] >= 0).all() and added[samples:].all()
        for place in range(samples, len(owner)):
            assert batch["label"][place] != batch["label"][owner[place]]
            assert batch["user_id"][place] == batch["user_id"][owner[place]]
            assert batch[fields.TIE_BEGIN][place] != batch[fields.TIE_BEGIN][owner[place]]
            pairs += 1
    assert pairs > 0


def test_a_partner_that_the_batch_holds_anyway_is_not_added(tmp_path):
    train, _, _ = toy_dataset(tmp_path, "AMEN", tsp_ratio=1.0, tsp_partner="in_batch", train_batch_size=64)
    (batch,) = CTRDataLoader(train.config, train, "train", shuffle=True)
    assert not batch[fields.ADDED].any() and len(batch) == len(train)
    paired = (batch[fields.PAIR_OF] >= 0).nonzero().squeeze(1)
    assert len(paired)
    partner = batch[fields.PAIR_OF][paired]
    assert (batch["label"][paired] != batch["label"][partner]).all()
    assert (batch["user_id"][paired] == batch["user_id"][partner]).all()
    assert (batch[fields.TIE_BEGIN][paired] != batch[fields.TIE_BEGIN][partner]).all()


def test_an_epochs_batches_do_not_depend_on_the_number_of_workers(tmp_path):
    write_toy(tmp_path)
    found = []
    for workers in (0, 2):
        train, _, _ = CTRDataset(toy_config(tmp_path, "AMEN", worker=workers)).build()
        loader = CTRDataLoader(train.config, train, "train", shuffle=True)
        loader.set_epoch(3)
        found.append([(b[fields.ROW_ID].tolist(), b[fields.PAIR_OF].tolist()) for b in loader])
    assert found[0] == found[1]


def test_grouped_shuffling_serves_every_row_once_and_in_a_new_order_each_epoch(tmp_path):
    train, _, _ = toy_dataset(tmp_path, "AMEN", lambda_tsp=0.0)
    loader = CTRDataLoader(train.config, train, "train", shuffle=True)
    orders = []
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        orders.append([row for batch in loader for row in batch[fields.ROW_ID].tolist()])
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(train.train_rows.tolist())
    assert orders[0] != orders[1]


def test_no_training_batch_has_a_single_row(tmp_path):
    train, valid, _ = toy_dataset(tmp_path)  # 17 training rows in batches of 8
    assert [len(batch["label"]) for batch in CTRDataLoader(train.config, train, "train", shuffle=True)] == [
        8,
        9,
    ]
    assert len(CTRDataLoader(train.config, train, "train", shuffle=True)) == 2
    train.config["eval_batch_size"] = 1
    assert [len(batch["label"]) for batch in CTRDataLoader(train.config, valid, "valid")] == [1, 1]


def test_a_table_attached_by_row_reaches_its_rows(tmp_path):
    train, _, _ = toy_dataset(tmp_path)
    loader = CTRDataLoader(train.config, train, "train", shuffle=True)
    loader.attach("flow", torch.arange(len(ROWS)) * 10)
    for batch in loader:
        assert torch.equal(batch["flow"], batch[fields.ROW_ID] * 10)


def test_processes_share_the_rows_of_an_evaluation(tmp_path):
    _, view, _ = toy_dataset(tmp_path, "AMEN")
    shares = []
    for rank in range(2):
        loader = CTRDataLoader(view.config, view, "valid")
        loader.rank, loader.world_size = rank, 2
        shares += loader._order().tolist()
    assert shares == CTRDataLoader(view.config, view, "valid")._order().tolist()


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_number_of_rows_of_a_process_is_known_without_their_order(tmp_path, shuffle, world_size):
    _, view, _ = toy_dataset(tmp_path, "AMEN")
    loader = CTRDataLoader(view.config, view, "train", shuffle=shuffle)
    for rank in range(world_size):
        loader.rank, loader.world_size, loader.batch_size = rank, world_size, 3
        assert loader.sample_size == len(loader._order())


@pytest.mark.parametrize("model", ["NIFDIN", "AMEN"])
def test_without_shuffle_training_rows_come_in_their_order_in_every_epoch(tmp_path, model):
    view, *_ = toy_dataset(tmp_path, model, shuffle=False, tsp_mode="none", train_batch_size=4)
    loader = loader_of_view(view.config, view, "train")
    for epoch in range(2):
        loader.set_epoch(epoch)
        read = torch.cat([batch[fields.ROW_ID] for batch in loader])
        assert read.tolist() == view.inter_feat[fields.ROW_ID].tolist()
    shuffled = loader_of_view(toy_dataset(tmp_path, model)[0].config, view, "train")
    assert sorted(shuffled._order().tolist()) == sorted(read.tolist()) != shuffled._order().tolist()


def test_without_shuffle_processes_have_as_many_batches_as_each_other(tmp_path):
    view, *_ = toy_dataset(tmp_path, "NIFDIN", shuffle=False)
    loader = loader_of_view(view.config, view, "train")
    loader.world_size, loader.batch_size, read = 2, 3, []
    for loader.rank in range(2):
        read.append(loader._order().tolist())
    assert len(read[0]) == len(read[1]) == len(view) // 2
    assert read[0][:3] + read[1][:3] == view.inter_feat[fields.ROW_ID][:6].tolist()


def test_a_process_without_a_row_knows_that_others_have_some(tmp_path):
    _, valid, _ = toy_dataset(tmp_path)
    loader = CTRDataLoader(valid.config, valid, "valid")
    loader.rank, loader.world_size = len(valid), len(valid) + 1
    assert len(loader) == 0 and bool(loader)  # it validates with them
    nothing, *_ = toy_dataset(tmp_path)
    nothing.inter_feat = nothing.inter_feat[:0]
    assert not CTRDataLoader(nothing.config, nothing, "valid")


def test_no_rows_are_no_batch():
    assert cut_batches(0, 4, "train") == cut_batches(0, 4, "test") == []
    assert cut_batches(5, 4, "test") == [slice(0, 4), slice(4, 5)]


@given(n_rows=st.integers(0, 60), whole=st.sampled_from([4, 6, 12]), world_size=st.sampled_from([1, 2, 3, 4]))
def test_a_step_of_all_processes_reads_the_batch_of_one_and_each_reads_neighbors(n_rows, whole, world_size):
    order, size = np.arange(n_rows), whole // world_size
    whole = size * world_size
    shares = [share_of(order, size, rank, world_size) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    for begin in range(0, n_rows, whole):
        together = order[begin : begin + whole]
        place = begin // world_size
        parts = [share[place : place + size] for share in shares]
        read = np.concatenate(parts)
        assert np.array_equal(read, together[: len(read)])
        assert len(together) - len(read) < world_size
