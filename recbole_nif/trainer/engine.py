"""One optimization step on any device: mixed precision, torch.compile, several processes, clipping."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from recbole_nif.device import to_device
from recbole_nif.errors import UserError
from recbole_nif.trainer.averaging import WeightAverage
from recbole_nif.trainer.row_wise import MANY_ROWS, RowWiseAdam

logger = logging.getLogger(__name__)

LossTerms = Callable[[Interaction], dict[str, Tensor]]

OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
}
ROW_WISE = "sparse_adam"
AMP_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def build_optimizer(name: str, groups: list[dict]) -> torch.optim.Optimizer:
    """The optimizer that RecBole's ``learner`` names; Adam's fused kernel wherever the parameters allow it.

    Args:
        groups: optimizer groups, each with ``params``, ``lr`` and ``weight_decay``.

    Raises:
        UserError: an unknown name (RecBole would silently train with Adam).
    """
    key = str(name).lower()
    if key not in OPTIMIZERS:
        raise UserError(f"learner is {name!r}: use one of {', '.join([*OPTIMIZERS, ROW_WISE])}.")
    if key in ("adam", "adamw"):
        try:
            return OPTIMIZERS[key](groups, fused=True)
        except RuntimeError:  # a device or dtype without a fused kernel
            logger.debug("no fused %s kernel for these parameters", name)
    return OPTIMIZERS[key](groups)


class _LossModule(nn.Module):
    """A module whose forward is a stage's loss, as DistributedDataParallel wants it."""

    def __init__(self, module: nn.Module, loss_terms: LossTerms):
        super().__init__()
        self.module = module
        self.loss_terms = loss_terms

    def forward(self, batch: Interaction) -> dict[str, Tensor]:
        return self.loss_terms(batch)


class Engine:
    """Trains ``module`` on a loss given as named scalar terms.

    Config keys: ``learner``, ``sparse_adam_rows``, ``clip_grad_norm`` (arguments of ``clip_grad_norm_``),
    ``enable_amp`` and ``amp_dtype`` (training only; evaluation stays in full precision), ``compile``,
    ``ema_decay``, ``single_spec``.

    Args:
        module: what is trained, already on ``config["device"]``.
        loss_terms: batch -> scalar terms whose sum is minimized.
        groups: optimizer groups of the module's parameters.
    """

    def __init__(self, config, module: nn.Module, loss_terms: LossTerms, groups: list[dict]):
        self.device, self.module = config["device"], module
        self.parallel = config["single_spec"] is False
        self.clip = config["clip_grad_norm"]
        groups = [group for group in groups if group["params"]]
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        if not groups:
            raise UserError(
                f"{type(module).__name__} has no trainable parameter: check what the configuration freezes."
            )
        self.amp = bool(config["enable_amp"])
        dtype = config["amp_dtype"] or "bfloat16"
        if dtype not in AMP_DTYPES:
            raise UserError(f"amp_dtype is {dtype!r}: use one of {', '.join(AMP_DTYPES)}.")
        self.amp_dtype = AMP_DTYPES[dtype]
        # float16 gradients underflow without scaling; bfloat16 has float32's range
        scaled = self.amp and dtype == "float16" and self.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)
        self.optimizer = self._optimizer(config, groups)
        self.steps = 0

        self._loss_terms = loss_terms
        if self.parallel:
            self._loss_terms = DistributedDataParallel(
                _LossModule(module, loss_terms),
                device_ids=[self.device] if self.device.type == "cuda" else None,
                find_unused_parameters=True,
            )
            # all buffers are equal now: constants stay so, and of statistics see ``share_statistics``
            self._loss_terms.broadcast_buffers = False
        self._plain = self._loss_terms
        # begins with weights that are the same in all processes by now
        tables = self.optimizer.tables if self.row_wise else []
        decay = config["ema_decay"]
        self.average = WeightAverage(self.parameters, decay, tables) if decay else None
        if config["compile"]:
            self._loss_terms = torch.compile(self._plain)

    @property
    def row_wise(self) -> bool:
        """Whether large tables are trained by the row."""
        return isinstance(self.optimizer, RowWiseAdam)

    def _optimizer(self, config, groups: list[dict]) -> torch.optim.Optimizer | RowWiseAdam:
        name = config["learner"] or "adam"
        if str(name).lower() != ROW_WISE:
            return build_optimizer(name, groups)
        for obstacle in ("clip_grad_norm", "compile"):
            if config[obstacle]:
                raise UserError(f"learner: {ROW_WISE} does not go with {obstacle}: leave one of them out.")
        if self.parallel:
            raise UserError(f"learner: {ROW_WISE} trains in one process: use learner: adam in several.")
        many_rows = config["sparse_adam_rows"] or MANY_ROWS
        return RowWiseAdam(self.module, groups, many_rows, partial(build_optimizer, "adam"))

    def step(self, batch: Interaction) -> dict[str, Tensor]:
        """One update on ``batch`` (on any device) -> the detached loss terms, still on the device."""
        batch = to_device(batch, self.device)
        try:
            terms = self._gradients(batch)
        except Exception as error:  # of dynamo, of a backend, of a compiler that is not there
            if self.steps or not self._gives_up_compiling(error):
                raise
            terms = self._gradients(batch)  # a mistake of the model's own comes again
        self.steps += 1
        if self.clip:
            self.scaler.unscale_(self.optimizer)
            clip_grad_norm_(self.parameters, **self.clip)
        rows = self.optimizer.looked_up() if self.row_wise else {}
        if self.average is not None:
            self.average.before_step(rows)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(rows)
        return {name: term.detach() for name, term in terms.items()}

    def _gradients(self, batch: Interaction) -> dict[str, Tensor]:
        """The loss terms of a batch, with the gradients of their sum in the parameters."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=self.amp_dtype, enabled=self.amp):
            terms = self._loss_terms(batch)
            total = sum(terms.values())
        self.scaler.scale(total).backward()
        return terms

    def _gives_up_compiling(self, error: Exception) -> bool:
        """Goes on without torch.compile; False if it is not in use."""
        if self._loss_terms is self._plain:
            return False
        self._loss_terms = self._plain
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        logger.warning("torch.compile fails here, so training goes on without it: %s", reason)
        return True

    @torch.no_grad()
    def share_statistics(self) -> None:
        """Means over the processes of running statistics (batch norm's, Dice's): each saw its own rows."""
        if not self.parallel:
            return
        for value in self.module.state_dict(keep_vars=True).values():
            if not isinstance(value, nn.Parameter) and value.is_floating_point():
                torch.distributed.all_reduce(value)
                value /= torch.distributed.get_world_size()

    def averaged(self) -> AbstractContextManager:
        """Within it the module has the weights to be judged and kept: their average with ``ema_decay``."""
        return nullcontext() if self.average is None else self.average.applied()

    def state(self) -> dict:
        """Optimizer, gradient scaler and weight average, for ``load``."""
        average = None if self.average is None else self.average.state()
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": average,
        }

    def load(self, state: dict) -> None:
        """Goes on from ``state``."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load(state["average"])
