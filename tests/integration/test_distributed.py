"""Two processes on the CPU: what one of them cannot see must still count."""

import torch
import torch.multiprocessing

from recbole_nif.evaluation.scoring import _gathered


def _share(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    mine = torch.arange(3.0) if rank == 0 else torch.arange(10.0, 15.0)
    everything = _gathered(mine, torch.device("cpu"))
    assert everything.tolist() == [0, 1, 2, 10, 11, 12, 13, 14]
    torch.distributed.destroy_process_group()


def test_scores_of_all_processes_are_gathered_though_their_numbers_differ(tmp_path):
    torch.multiprocessing.spawn(_share, args=(str(tmp_path),), nprocs=2)
