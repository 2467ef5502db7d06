"""Logs in shards: what a stream yields, against the same data in memory."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_nif import run_recbole_nif
from recbole_nif.cli import main
from recbole_nif.data.batching import cut_batches
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.data.fields import ROW_ID
from recbole_nif.data.stream.dataset import StreamedLog
from recbole_nif.data.stream.loader import StreamLoader
from recbole_nif.data.stream.write import write_shards
from recbole_nif.data.views import build_views, loader_of_view
from recbole_nif.errors import UserError
from recbole_nif.trainer.engine import Engine
from tests.toy import toy_config, write_toy

pytest.importorskip("pyarrow")

AMEN = {"history": "all_with_label", "stream_buffer": 2, "rows_per_window": 2}


def log_rows(users: int = 9, events: int = 12, seed: int = 0) -> list[tuple]:
    """Every user rates random items at random times, with ties."""
    rng = np.random.default_rng(seed)
    return [
        (f"u{user}", f"m{rng.integers(1, 9)}", int(rng.integers(1, 6)), 10**9 + int(rng.integers(0, 30)))
        for user in range(users)
        for _ in range(events)
    ]


@pytest.fixture
def shards(tmp_path):
    """Settings for a stream of the toy log in 4 shards, and its views in memory."""
    write_toy(tmp_path, log_rows())
    views = CTRDataset(toy_config(tmp_path, "AMEN", **AMEN)).build()
    write_shards(views, tmp_path / "shards", 4)
    return tmp_path, views


def stream_config(folder, model="AMEN", **overrides):
    return toy_config(folder, model, **{**AMEN, "stream_shards": str(folder / "shards"), **overrides})


def samples(batch) -> torch.Tensor:
    """Row ids of a batch, partners left out."""
    return batch[ROW_ID][~batch["added"]] if "added" in batch else batch[ROW_ID]


def loaders(folder, **overrides) -> list[StreamLoader]:
    config = stream_config(folder, **overrides)
    views = build_views(config)
    return [loader_of_view(config, *pair) for pair in zip(views, ("train", "valid", "test"), strict=True)]


def test_a_stream_knows_of_ids_and_rows_what_the_dataset_in_memory_knows(shards):
    folder, views = shards
    for stream, view in zip(build_views(stream_config(folder)), views, strict=True):
        assert (len(stream), stream.n_clicks()) == (len(view), view.n_clicks())
        assert stream.num("genre") == view.num("genre")
        assert stream.fields() == view.fields()
        assert stream.train_item_count.tolist() == view.train_item_count.tolist()
        assert stream.item_scene.tolist() == view.item_scene.tolist()


def test_one_chunk_gives_the_very_batches_of_the_dataset_in_memory(shards, tmp_path):
    folder, views = shards
    write_shards(views, tmp_path / "one", 1)
    config = stream_config(folder, stream_shards=str(tmp_path / "one"))
    for stream, view, phase in zip(build_views(config), views, ("train", "valid", "test"), strict=True):
        streamed, whole = loader_of_view(config, stream, phase), loader_of_view(view.config, view, phase)
        streamed.set_epoch(3)
        whole.set_epoch(3)
        batches = list(zip(streamed, whole, strict=True))
        assert len(batches) == len(streamed) == len(whole)
        for ours, expected in batches:
            assert set(expected.columns) - set(ours.columns) == {"timestamp"}  # no model reads it
            for name in ours.columns:
                assert ours[name].tolist() == expected[name].tolist(), name


def test_every_row_comes_once_in_an_epoch_whatever_the_number_of_shards(shards):
    folder, views = shards
    for loader, view in zip(loaders(folder), views, strict=True):
        for epoch in (0, 1):
            loader.set_epoch(epoch)
            batches = list(loader)
            assert len(batches) == len(loader)
            assert sorted(torch.cat([*map(samples, batches)]).tolist()) == sorted(
                view.inter_feat[ROW_ID].tolist()
            )


def test_a_row_of_a_stream_sees_the_history_that_it_sees_in_memory(shards):
    folder, views = shards
    for batch in loaders(folder)[2]:
        expected = views[2].read(batch[ROW_ID])
        for name in ("user_id", "item_id_list", "label_list", "item_length", "row_gap", "moveline_cut"):
            assert batch[name].tolist() == expected[name].tolist(), name


def test_the_order_is_a_function_of_seed_and_epoch(shards):
    def order(epoch, **overrides):
        loader = loaders(shards[0], **overrides)[0]
        loader.set_epoch(epoch)
        return [batch[ROW_ID].tolist() for batch in loader]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) != order(1, seed=7)


def test_workers_that_read_ahead_change_no_batch(shards):
    alone, helped = (loaders(shards[0], worker=worker, stream_buffer=1)[0] for worker in (0, 2))
    assert [batch[ROW_ID].tolist() for batch in alone] == [batch[ROW_ID].tolist() for batch in helped]


def test_an_epoch_goes_on_at_any_batch_without_reading_the_chunks_before_it(shards, monkeypatch):
    loader = loaders(shards[0])[0]
    whole = [batch[ROW_ID].tolist() for batch in loader]
    for first in range(len(whole) + 1):
        loader.set_epoch(0, first)
        assert [batch[ROW_ID].tolist() for batch in loader] == whole[first:]
    read = []
    monkeypatch.setattr(loader, "views", lambda plan: read.extend(plan) or iter(()))
    loader.set_epoch(0, loader._batches_of(loader.plan(0)[0]))
    assert list(loader) == [] and read == loader.plan(0)[1:]


def test_processes_share_the_shards_and_take_equally_many_steps(shards):
    parts = loaders(shards[0], stream_buffer=1)[0], loaders(shards[0], stream_buffer=1)[0]
    for rank, loader in enumerate(parts):
        loader.rank, loader.world_size, loader.batch_size = rank, 2, 4
        loader.set_epoch(5)
    dealt = [number for loader in parts for chunk in loader.plan(loader.rank) for number in chunk]
    assert sorted(dealt) == [0, 1, 2, 3]
    seen = [[row for batch in loader for row in samples(batch).tolist()] for loader in parts]
    assert not set(seen[0]) & set(seen[1])
    assert len(parts[0]) == len(parts[1]) == len(list(parts[0])) == len(list(parts[1]))


def test_a_training_row_that_is_alone_in_its_chunk_is_left_out(shards):
    train, valid, _ = loaders(shards[0], stream_buffer=1)
    for loader in (train, valid):
        loader._rows[0] = 1
    assert train._batches_of([0]) == 0 and valid._batches_of([0]) == 1
    assert train._batches_of([0, 1]) == len(cut_batches(1 + train._rows[1], train.batch_size, "train"))
    assert len(list(train)) == len(train) == sum(train._batches_of([number]) for number in (1, 2, 3))


def test_stage_1_trains_every_cut_of_the_log_in_memory_once(shards):
    folder, views = shards
    options = {"length": 4, "stride": 2, "flow_len": 2, "batch_size": 3}
    windows = loaders(folder)[0].windows(**options)
    whole = loader_of_view(views[0].config, views[0], "train").windows(**options)
    assert windows.n_cuts == whole.n_cuts > 0
    for first in (0, 2):
        windows.set_epoch(1, first)
        batches = list(windows)
        assert len(batches) == len(windows) - first
    windows.set_epoch(1)
    assert sum(int(batch["cut_mask"].sum()) for batch in windows) == whole.n_cuts


def test_validation_may_read_some_shards_only(shards):
    _, valid, test = loaders(shards[0], stream_eval_shards=1)
    first = valid._log.manifest.shards[0].rows
    assert sum(len(batch) for batch in valid) == first[1] < len(valid._log)
    assert sum(len(batch) for batch in test) == len(test._log)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"threshold": {"rating": 3}}, "threshold"),
        ({"val_interval": {"rating": "[2,inf)"}}, "val_interval is .* were made with None"),
        ({"user_inter_num_interval": "[5,inf)"}, "user_inter_num_interval"),
        ({"rm_dup_inter": "first"}, "rm_dup_inter"),
        ({"generator_cross_fit": "kfold"}, "generator_cross_fit"),
        ({"flow_cache": "memory"}, "flow_cache"),
        ({"model": "LR"}, "LR"),
        ({"stream_shards": "nowhere"}, "stream_shards"),
    ],
)
def test_what_a_stream_cannot_do_is_said_in_one_sentence(shards, overrides, named):
    with pytest.raises(UserError, match=named):
        StreamedLog(stream_config(shards[0], **overrides))


def test_shards_of_other_values_are_other_data_and_those_written_again_are_not(shards, tmp_path):
    folder, views = shards

    def fingerprint(name, log):
        write_shards([view.with_log(log) for view in views], tmp_path / name, 4)
        return StreamedLog(stream_config(folder, stream_shards=str(tmp_path / name))).fingerprint()

    log = views[0].event_log
    first = StreamedLog(stream_config(folder)).fingerprint()
    assert fingerprint("again", log) == first
    assert fingerprint("other", log.with_events(rating=log.rating.flip(0))) != first  # as many of each


def test_the_command_writes_shards_and_refuses_a_folder_with_files(tmp_path, capsys):
    folder = write_toy(tmp_path)
    argv = ["shards", "toy", "--to", str(tmp_path / "out"), "--shards=2", f"--data_path={folder}"]
    argv += ["--threshold.rating=4", "--load_col.inter=[user_id,item_id,rating,timestamp]"]
    assert main(argv) == 0
    assert "21 events of 3 users in 2 shards" in capsys.readouterr().out
    assert main(argv) == 2
    assert "not empty" in capsys.readouterr().err


SMALL = {"epochs": 1, "hidden_size": 8, "mlp_hidden_size": [8], "pretrain_epochs": 1, "save_step": 1}


def test_amen_trains_both_stages_on_a_stream(shards):
    config = stream_config(shards[0], **SMALL)
    result = run_recbole_nif(config_dict=config.resolved())
    record = json.loads(Path(result["run_dir"], "result.json").read_text())
    assert [stage["name"] for stage in record["stages"]] == ["pretrain", "finetune"]
    assert 0 <= result["test_result"]["auc"] <= 1
    assert record["rows"]["train"] == len(shards[1][0])


def test_a_run_on_one_chunk_ends_with_the_digits_of_the_run_in_memory(shards, tmp_path):
    folder, views = shards
    write_shards(views, tmp_path / "one", 1)
    settings = {"epochs": 2, "dropout_prob": 0.0, "mlp_hidden_size": [8]}
    results = [
        run_recbole_nif(config_dict=toy_config(folder, "NIFDIN", **settings, **more).resolved())
        for more in ({"history": "all_with_label"}, AMEN | {"stream_shards": str(tmp_path / "one")})
    ]
    assert results[0]["test_result"] == results[1]["test_result"]
    assert results[0]["best_valid_result"] == results[1]["best_valid_result"]


class Stopped(Exception):
    """Ends a run as a kill would, after its last save."""


def test_a_run_that_is_killed_inside_a_chunk_goes_on_to_the_same_digits(shards, monkeypatch):
    folder = shards[0]
    whole = run_recbole_nif(config_dict=stream_config(folder, **SMALL).resolved())
    steps, step = [], Engine.step

    def stopping(engine, batch):
        steps.append(batch)
        if len(steps) == 7:  # in the middle of stage 2
            raise Stopped
        return step(engine, batch)

    monkeypatch.setattr(Engine, "step", stopping)
    killed = str(folder / "killed")
    with pytest.raises(Stopped):
        run_recbole_nif(config_dict=stream_config(folder, run_dir=killed, **SMALL).resolved())
    monkeypatch.undo()
    resumed = run_recbole_nif(argv=[f"--resume={killed}"])
    record = json.loads(Path(killed, "result.json").read_text())
    assert record["stages"][-1]["resumed"]
    assert resumed["test_result"] == whole["test_result"]
