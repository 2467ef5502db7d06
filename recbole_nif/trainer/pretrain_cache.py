"""Stage 1 trained once for all runs that would train the same: ``pretrain_cache``.

What stage 1 ends with depends on the data and on the configuration without the keys that only stage 2 reads.
The generator's weights and the stage's report lie in a file named by the hash of both.
"""

import logging
import zlib
from collections.abc import Callable, Set
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout
from torch import nn

from recbole_nif import __version__
from recbole_nif.config_resume import FREE_KEYS
from recbole_nif.errors import UserError
from recbole_nif.semantic_id.cache import content_hash
from recbole_nif.trainer import checkpoint
from recbole_nif.trainer.pretrain import pretrain_settings
from recbole_nif.trainer.stages import StageReport

logger = logging.getLogger(__name__)

# Read through ``pretrain_settings``, which knows when stage 1 falls back to them
OF_BOTH_STAGES = {"epochs", "learning_rate", "weight_decay", "stopping_step", "eval_step", "valid_metric"}


def pretrain_once(
    config,
    model: nn.Module,
    data: int,
    valid,
    folder: Path | None,
    train: Callable[[], StageReport],
    resume: bool = False,
) -> StageReport:
    """Leaves ``model.generator`` as ``train`` would, by loading it if an earlier run has trained the same.

    Runs that start together wait for one. Runs in several processes or on shards share nothing.

    Args:
        config: ``pretrain_cache``, the folder of trained generators, or None.
        model: its class may name ``stage_2_keys`` that its stage 1 does not read; a subclass, which may read
            more of them, names its own.
        data: fingerprint of the data.
        valid: loader of the validation rows, by which the best epoch is chosen, or None.
        folder: gets the run's own ``pretrain-best.pt``; None for none.
        train: trains the generator and leaves it with its best weights.
        resume: whether the run goes on; then what it took earlier stays, wherever the folder is now.

    Raises:
        UserError: ``pretrain_cache`` cannot be written.
    """
    place = config["pretrain_cache"]
    if resume and folder is not None and _was_taken(folder / "pretrain-best.pt"):
        return _load(config, model.generator, folder / "pretrain-best.pt", None)
    if not place or config["single_spec"] is False or config["stream_shards"]:
        return train()
    stage_2_keys = vars(type(model)).get("stage_2_keys", frozenset())
    path = Path(place) / f"{content_hash(_dependencies(config, stage_2_keys, data, valid))}.pt"
    begun = folder is not None and (folder / "pretrain-last.pt").is_file()  # by this run, which goes on
    lock = _locked(path)
    try:
        if path.is_file() and not begun:
            return _load(config, model.generator, path, folder)
        report = train()
        if not path.is_file():
            checkpoint.save(path, _payload(config, model.generator, data, report))
        return report
    finally:
        lock.release()


def _was_taken(own: Path) -> bool:
    """Whether a run has its stage 1 from another one: then the report lies with the weights."""
    return own.is_file() and "report" in checkpoint.load(own)


def _dependencies(config, stage_2_keys: Set[str], data: int, valid) -> dict:
    left_out = FREE_KEYS | stage_2_keys | OF_BOTH_STAGES
    read = {key: value for key, value in checkpoint.resolved(config).items() if key not in left_out}
    device = config["device"].type
    judges = None if valid is None else zlib.crc32(valid.rows.numpy())
    return {
        "version": __version__, "data": data, "valid": judges, "device": device,
        "stage": asdict(pretrain_settings(config)), "config": read,
    }  # fmt: skip


def _locked(path: Path) -> FileLock:
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            logger.info("another run trains the same stage 1: this one waits for it")
            lock.acquire()
    except (OSError, NotImplementedError) as error:  # the latter where the disk knows no locks
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"Cannot use the folder {path.parent} ({reason}): free space or set pretrain_cache."
        ) from None
    return lock


def _payload(config, generator: nn.Module, data: int, report: StageReport) -> dict:
    return {
        "model": checkpoint.model_name(config),
        "stage": report.name,
        "data": data,
        "epoch": report.best_epoch,
        "state_dict": generator.state_dict(),
        "config": checkpoint.resolved(config),
        "early_stop": {"best": report.best_score, "best_epoch": report.best_epoch},
        "report": report.record(),
    }


def _load(config, generator: nn.Module, path: Path, folder: Path | None) -> StageReport:
    try:
        payload = checkpoint.load(path, checkpoint.model_name(config), "pretrain")
        checkpoint.restore(generator, payload["state_dict"], path)
    except UserError:
        raise UserError(f"{path} is damaged: remove it, and stage 1 is trained anew.") from None
    report = StageReport.read(payload["report"])
    report.facts["from_cache"] = True
    if folder is not None:
        checkpoint.save(folder / f"{report.name}-best.pt", payload | {"config": checkpoint.resolved(config)})
    logger.info(
        "stage %s: an earlier run trained the same in %.0f s, %s", report.name, report.seconds, path.name
    )
    return report
