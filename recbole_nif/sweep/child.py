"""One run of a sweep, in a child process.

A process of its own gives all memory back when the run ends, is measured by itself, and may crash or be
killed for want of memory without taking the sweep along. If the sweep is killed, the child ends too, and the
run's folder is locked as long as it lives: two processes never train in one folder.
"""

import logging
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from filelock import FileLock

from recbole_nif.config_resume import FREE_KEYS
from recbole_nif.errors import UserError
from recbole_nif.sweep.ledger import RunFailed

# A fork server imports torch (the first optimizer wants torch._dynamo) and RecBole once for all runs; Windows
# has none.
FORKS = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT = multiprocessing.get_context("forkserver" if FORKS else "spawn")
if FORKS:
    CONTEXT.set_forkserver_preload(["torch._dynamo", "recbole_nif.quick_start"])
STAGE_1 = "stage-1"  # folder of what stage 1 trained, for all runs of the sweep


class Pruned(Exception):
    """The run is not worth going on with."""


def train(
    settings: dict[str, Any], folder: Path, screen: Path, goes_on: Callable[[int, float], bool]
) -> float:
    """Does a run, or what is left of it.

    Args:
        settings: as ``config_dict`` of ``run_recbole_nif``.
        folder: of the run. Its result is returned if it is there; else the run goes on from its checkpoints.
        screen: file that takes what the run prints.
        goes_on: called with every (epoch, validation score); False ends the run.

    Returns:
        the best validation score.

    Raises:
        Pruned: ``goes_on`` said so.
        RunFailed: the run failed, with its error in one line.
        KeyboardInterrupt: after Ctrl-C, when the run has saved its state.
    """
    ours, theirs = CONTEXT.Pipe()
    child = CONTEXT.Process(target=_child, args=(theirs, settings, folder, screen))
    child.start()
    theirs.close()
    try:
        return _listen(ours, child, goes_on)
    except KeyboardInterrupt:
        child.terminate()  # a run answers SIGTERM by saving
        raise
    finally:
        ours.close()
        child.join()


def _listen(ours: Connection, child, goes_on: Callable[[int, float], bool]) -> float:
    while True:
        try:
            kind, *content = ours.recv()
        except (EOFError, ConnectionError):
            child.join()
            raise RunFailed(
                f"The process ended with exit code {child.exitcode} before the run did."
            ) from None
        if kind == "epoch":
            answer = goes_on(*content)
            with suppress(ConnectionError):  # the next look finds that the child is gone
                ours.send(answer)
        elif kind == "done":
            return content[0]
        elif kind == "failed":
            raise RunFailed(content[0])
        else:
            raise {"pruned": Pruned, "interrupted": KeyboardInterrupt}[kind]


# --- in the child


def _child(theirs: Connection, settings: dict[str, Any], folder: Path, screen: Path) -> None:
    _print_to(screen)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with FileLock(screen.with_suffix(".lock")):
            end = ("done", _run(theirs, settings, folder))
    except Pruned:
        end = ("pruned",)
    except KeyboardInterrupt:
        end = ("interrupted",)
    except UserError as error:
        end = ("failed", str(error))
    except Exception as error:
        traceback.print_exc()
        text = str(error).strip().partition("\n")[0]
        end = ("failed", f"{type(error).__name__}: {text}")
    with suppress(ConnectionError):  # the sweep was interrupted too
        theirs.send(end)


def _run(theirs: Connection, settings: dict[str, Any], folder: Path) -> float:
    from recbole_nif.quick_start import run_recbole_nif

    def tell(epoch: int, score: float) -> None:
        try:
            theirs.send(("epoch", epoch, score))
            goes_on = theirs.recv()
        except (EOFError, ConnectionError):
            return  # the sweep was interrupted: this run stops too, after saving
        if not goes_on:
            logging.getLogger(__name__).info("pruned after epoch %d", epoch)
            raise Pruned

    settings = {"pretrain_cache": str(folder.parent / STAGE_1)} | settings
    if (folder / "config.yaml").is_file():
        settings = {key: value for key, value in settings.items() if key in FREE_KEYS}
        settings |= {"resume": str(folder)}
    else:
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed before it had written that
        settings = settings | {"run_dir": str(folder)}
    result = run_recbole_nif(config_dict=settings | {"show_progress": False}, callback=tell)
    return float(result["best_valid_score"])


def _end_with_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _print_to(screen: Path) -> None:
    sys.stdout.flush()
    with screen.open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C goes to the sweep, which passes it on
