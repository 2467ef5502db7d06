"""What of a stage is kept: its best weights, and its last state, from which a run goes on."""

from pathlib import Path

import torch
from torch import nn

from recbole_nif.config_resume import changed_keys
from recbole_nif.errors import UserError
from recbole_nif.trainer import checkpoint
from recbole_nif.trainer.stages import EarlyStopping


class StageFiles:
    """``<stage>-best.pt`` and ``<stage>-last.pt``, or the best weights in memory.

    Args:
        folder: of the files; None keeps the best weights in memory.
        data: fingerprint of the data, or None where it is not known.
    """

    def __init__(self, config, stage: str, module: nn.Module, folder: Path | None, data: int | None = None):
        self.config, self.stage, self.module, self.data = config, stage, module, data
        self.best = None if folder is None else folder / f"{stage}-best.pt"
        self.last = None if folder is None else folder / f"{stage}-last.pt"
        self._memory: dict[str, torch.Tensor] = {}
        self._distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self._writes = folder is not None and (not self._distributed or torch.distributed.get_rank() == 0)

    def keep(self, epoch: int, stopping: EarlyStopping) -> None:
        """Makes the module's present weights, of ``epoch``, the best ones."""
        if self.best is None:
            state = self.module.state_dict()
            self._memory = {name: value.detach().clone() for name, value in state.items()}
        elif self._writes:
            checkpoint.save(self.best, self._payload({"epoch": epoch, "early_stop": stopping.record()}))

    def restore_best(self) -> None:
        """Loads the best weights into the module."""
        if self.best is None:
            self.module.load_state_dict(self._memory)
            return
        if self._distributed:
            torch.distributed.barrier()  # the writing process may still be busy
        payload = checkpoint.load(self.best, checkpoint.model_name(self.config), self.stage)
        checkpoint.restore(self.module, payload["state_dict"], self.best)

    def save_last(self, state: dict) -> None:
        """Stores the module's present weights with ``state``, where a folder was given."""
        if self._writes:
            checkpoint.save(self.last, self._payload(state))

    def load_last(self) -> dict | None:
        """Loads the last weights into the module and returns their state; None if there are none.

        Raises:
            UserError: the file is damaged, or was written with another configuration or other data.
        """
        if self.last is None or not self.last.is_file():
            return None
        payload = checkpoint.load(self.last, checkpoint.model_name(self.config), self.stage)
        if "complete" not in payload:
            raise UserError(f"{self.last} holds no state of a stage to go on from: start a new run.")
        changed = changed_keys(payload["config"], checkpoint.resolved(self.config))
        if changed:
            raise UserError(
                f"{self.last} was written with other values of {', '.join(changed)}: resume with those of "
                "the run's config.yaml, or start a new run."
            )
        if None not in (self.data, payload["data"]) and self.data != payload["data"]:
            raise UserError(
                f"{self.last} was written with other data than the files of {self.config['dataset']} hold "
                "now: restore them, or start a new run."
            )
        checkpoint.restore(self.module, payload["state_dict"], self.last)
        return payload

    def _payload(self, state: dict) -> dict:
        return {
            "model": checkpoint.model_name(self.config),
            "stage": self.stage,
            "data": self.data,
            "state_dict": self.module.state_dict(),
            "config": checkpoint.resolved(self.config),
            **state,
        }
