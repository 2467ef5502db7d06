"""Two processes on one stream: they share its shards, and agree on what there is to do."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing

from recbole_nif.data.dataset import CTRDataset
from recbole_nif.data.stream.write import write_shards
from recbole_nif.data.views import build_views, loader_of_view
from recbole_nif.evaluation.scoring import score_rows
from tests.integration.test_distributed import ScoresById, _meet
from tests.toy import toy_config
from tests.unit.test_stream import AMEN, log_rows, samples, stream_config, write_toy

pytest.importorskip("pyarrow")


def _work(rank: int, folder: str) -> None:
    _meet(rank, folder)
    config = stream_config(Path(folder), stream_buffer=1)
    train, _, test = (
        loader_of_view(config, view, phase)
        for view, phase in zip(build_views(config), ("train", "valid", "test"), strict=True)
    )
    windows = train.windows(length=4, stride=2, flow_len=2, batch_size=3)
    batches = list(windows)
    assert len(batches) == len(windows)
    cuts = [int(batch["cut_mask"].sum()) for batch in batches]
    trained = [samples(batch).numpy() for batch in train]
    assert len(trained) == len(train)
    scored = score_rows(ScoresById(), test, config)
    np.savez(
        Path(folder, f"{rank}.npz"),
        trained=np.concatenate(trained),
        steps=[len(trained), len(cuts)],
        cuts=windows.n_cuts,
        scored=scored.row_id,
    )
    torch.distributed.destroy_process_group()


def test_two_processes_train_different_rows_in_equally_many_steps_and_score_every_row_once(tmp_path):
    write_toy(tmp_path, log_rows())
    views = CTRDataset(toy_config(tmp_path, "AMEN", **AMEN)).build()
    write_shards(views, tmp_path / "shards", 4)
    torch.multiprocessing.spawn(_work, args=(str(tmp_path),), nprocs=2)
    first, second = (np.load(tmp_path / f"{rank}.npz") for rank in range(2))
    assert not set(first["trained"]) & set(second["trained"])
    assert set(first["trained"]) | set(second["trained"]) <= set(views[0].inter_feat["row_id"].tolist())
    assert first["steps"].tolist() == second["steps"].tolist()
    alone = loader_of_view(views[0].config, views[0], "train").windows(
        length=4, stride=2, flow_len=2, batch_size=3
    )
    assert int(first["cuts"]) == int(second["cuts"]) == alone.n_cuts
    assert first["scored"].tolist() == sorted(views[2].inter_feat["row_id"].tolist())
