"""A run's folder: config.yaml, train.log, checkpoints/, tensorboard/, test_scores.npz and result.json."""

import itertools
import json
import logging
import math
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from importlib import metadata
from pathlib import Path

import torch
import yaml
from filelock import FileLock, Timeout

from recbole_nif import __version__
from recbole_nif.device import device_name
from recbole_nif.errors import UserError
from recbole_nif.evaluation.scored_rows import SCORES_FILE, ScoredRows
from recbole_nif.files import written_whole

PACKAGES = ("recbole", "numpy", "pandas")
LOCK = "training.lock"  # there as long as a process trains in the folder
BEGINNINGS = ("config.yaml", "train.log", "tensorboard", LOCK)  # what a run has before its first checkpoint
PATIENCE = 10.0  # seconds; a killed run's loading processes hold its lock until they notice
OF_THE_PLACE = ("run_dir", "resume")  # where a run lies is not what it is


def default_run_dir(config) -> Path:
    """``<checkpoint_dir>/<Model>-<dataset>-<YYYYmmdd-HHMMSS>-<seed>``, with -2, -3, … where that exists.

    Nothing is created.
    """
    model = (config["model_name"] or config["model"]).rpartition(":")[2]
    name = f"{model}-{config['dataset']}-{datetime.now():%Y%m%d-%H%M%S}-{config['seed']}"
    folder = Path(config["checkpoint_dir"] or "saved")
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(folder / name for name in names if not (folder / name).exists())


class RunFolder:
    """The folder of one run; in several processes the first one writes and all know the same path.

    Args:
        config: ``run_dir`` names the folder, else ``default_run_dir``; it is set to the path in use.

    Raises:
        UserError: ``run_dir`` holds files already and is not to be resumed, or it cannot be written.
    """

    def __init__(self, config):
        git_commit()
        self.path = _agreed(Path(config["run_dir"]) if config["run_dir"] else default_run_dir(config))
        self.writes, self.resumed = (config["rank"] or 0) == 0, bool(config["resume"])
        if self.writes:
            self._create(config)
        config["run_dir"] = str(self.path)

    def _create(self, config) -> None:
        if not self.resumed and self.path.is_dir() and any(self.path.iterdir()):
            raise UserError(
                f"run_dir {self.path} is not empty: give a new folder, remove it, or go on with --resume."
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if self.resumed:
                (self.path / "train.log").open("a").close()  # can the folder be written?
            else:
                settings = {key: value for key, value in config.resolved().items() if key not in OF_THE_PLACE}
                text = yaml.safe_dump(settings, sort_keys=True, allow_unicode=True)
                write_text(self.path / "config.yaml", text)
        except OSError as error:
            raise UserError(
                f"Cannot write the run folder {self.path} ({error.strerror}): free space or set run_dir."
            ) from None

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Keeps other processes from training in the folder meanwhile; a killed process lets go of it.

        Raises:
            UserError: another process trains there.
        """
        if not self.writes:
            yield
            return
        lock = FileLock(self.path / LOCK, timeout=PATIENCE)
        try:
            lock.acquire()
        except Timeout:
            raise UserError(
                f"Another process trains in {self.path}: wait for its result, or stop it and resume then."
            ) from None
        except (OSError, NotImplementedError):
            pass  # not every file system has locks
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no file that is open, but does so on release
                (self.path / LOCK).unlink()
            lock.release()

    @contextmanager
    def logging(self, level: str | None = None) -> Iterator[None]:
        """Sends the block's logs to ``train.log`` and the screen, from ``level`` (RecBole's ``state``) on."""
        formatter = _PlainFormatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
        handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
        if self.writes:
            handlers.append(_FileHandler(self.path / "train.log", encoding="utf-8"))
        root, before = logging.getLogger(), logging.getLogger().level
        for handler in handlers:
            handler.setFormatter(formatter)
            root.addHandler(handler)
        root.setLevel((level or "info").upper())
        try:
            yield
        except Exception:
            logging.getLogger(__name__).debug("the run ended with an error", exc_info=True)
            raise
        finally:
            root.setLevel(before)
            for handler in handlers:
                root.removeHandler(handler)
                handler.close()

    @contextmanager
    def resumable(self, saved: bool) -> Iterator[None]:
        """Says how to go on, where the block is interrupted."""
        try:
            yield
        except KeyboardInterrupt:
            advice = f"go on with: recbole-nif --resume={self.path}" if saved else "nothing was saved"
            raise KeyboardInterrupt(f"The run was interrupted; {advice}") from None

    @contextmanager
    def removed_after_a_mistake(self) -> Iterator[None]:
        """Leaves no folder behind when a user's mistake ends the block before anything was trained."""
        try:
            yield
        except UserError:
            if self.writes and not self.resumed:
                self._remove_beginnings()
            raise

    def _remove_beginnings(self) -> None:
        """Removes the folder, if it holds only what a run begins with."""
        if all(path.name in BEGINNINGS for path in self.path.iterdir()):
            shutil.rmtree(self.path)

    @property
    def result(self) -> Path:
        """Path of ``result.json``, which is there when the run is complete."""
        return self.path / "result.json"

    def write_result(self, record: Mapping, scored: ScoredRows | None = None) -> None:
        """Writes the scores of the test rows, if there are any, and then ``result.json``."""
        if not self.writes:
            return
        try:
            if scored is not None:
                scored.save(self.path / SCORES_FILE)
            write_json(self.result, record)
        except OSError as error:
            raise UserError(
                f"Cannot write {self.result} ({error.strerror}): free space, then go on with --resume."
            ) from None


class _FileHandler(logging.FileHandler):
    """Says once that it cannot write, where logging prints a traceback per line."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not getattr(self, "told", False):
            self.told = True
            print(f"Cannot write {self.baseFilename}: the log goes on here only.", file=sys.stderr)


class _PlainFormatter(logging.Formatter):
    """Drops the color codes that RecBole puts into its texts."""

    def format(self, record: logging.LogRecord) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", super().format(record))


def write_json(path: Path, record: Mapping) -> None:
    """Writes strict JSON whole or not at all; NaN and infinite numbers become null."""
    write_text(path, json.dumps(finite(record), indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def finite(value):
    """``value`` with null for every number that JSON cannot hold, and text for unknown objects."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def environment(device: torch.device) -> dict:
    """Where a run took place: versions, device, threads, commit of this package's checkout, date."""
    return {
        "versions": {
            "python": platform.python_version(),
            "recbole_nif": __version__,
            **{name: metadata.version(name) for name in PACKAGES},
            "torch": torch.__version__,  # with its build, which the package's metadata may leave out
        },
        "device": {"type": device.type, "name": device_name(device)},
        "threads": torch.get_num_threads(),
        "git_commit": git_commit(),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def peak_memory(device: torch.device) -> dict:
    """Largest resident memory of this process so far and, on CUDA, of torch's allocator, in MB."""
    try:
        import resource  # not on Windows
    except ImportError:
        resident = None
    else:
        unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    cuda = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    return {"resident": resident, "cuda": cuda}


@cache
def git_commit() -> str | None:
    """Commit of the checkout that holds this package, ``-dirty`` with local changes; None elsewhere.

    As it is at the first call: a run asks at its start, since the checkout may move on while it lasts.
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _agreed(path: Path) -> Path:
    """The first process's path, since the clock may differ between processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        paths = [str(path)]
        torch.distributed.broadcast_object_list(paths)
        return Path(paths[0])
    return path
