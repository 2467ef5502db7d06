"""Two processes on the CPU: what one of them cannot see must still count."""

from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing

from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.evaluation.scoring import _gathered, score_rows
from tests.toy import toy_config, write_toy


def _meet(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )


def _share(rank: int, folder: str) -> None:
    _meet(rank, folder)
    mine = torch.arange(3.0) if rank == 0 else torch.arange(10.0, 15.0)
    everything = _gathered(mine, torch.device("cpu"))
    assert everything.tolist() == [0, 1, 2, 10, 11, 12, 13, 14]
    torch.distributed.destroy_process_group()


def test_scores_of_all_processes_are_gathered_though_their_numbers_differ(tmp_path):
    torch.multiprocessing.spawn(_share, args=(str(tmp_path),), nprocs=2)


class ScoresById(torch.nn.Module):
    """Tells by its scores which rows it was given."""

    def predict(self, batch):
        return batch["row_id"] / 1000


def _score_all(folder: str):
    config = toy_config(Path(folder))
    view = CTRDataset(config).build()[0]
    assert len(view) % 2 == 1  # one process has a row more
    return view, score_rows(ScoresById(), CTRDataLoader(config, view, phase="test"), config)


def _score(rank: int, folder: str) -> None:
    _meet(rank, folder)
    _, rows = _score_all(folder)
    rows.save(Path(folder) / f"{rank}.npz")
    torch.distributed.destroy_process_group()


def test_every_row_is_scored_once_by_two_processes_and_all_know_all_scores(tmp_path):
    write_toy(tmp_path)
    torch.multiprocessing.spawn(_score, args=(str(tmp_path),), nprocs=2)
    view, alone = _score_all(str(tmp_path))
    assert alone.row_id.tolist() == sorted(view.inter_feat["row_id"].tolist())
    for rank in range(2):
        with np.load(tmp_path / f"{rank}.npz") as file:
            assert file["row_id"].tolist() == alone.row_id.tolist()
            assert file["score"].tolist() == alone.score.tolist()
            assert file["label"].tolist() == alone.label.tolist()
