"""``--nproc=N``: a run in N processes of this machine, each with its GPU, or with its share of the CPU.

It is what ``torchrun --standalone --nproc_per_node=N`` does, but a mistake is told once and in one sentence.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import recbole_nif
from recbole_nif.errors import UserError

GRACE = 10.0  # seconds in which processes may end by themselves when one of them has failed
PAUSE = 0.05  # seconds between two looks at them
MISTAKE = 2  # exit code of a process that ended with a UserError


def launch(count: str, argv: Sequence[str]) -> int:
    """Runs the command line ``argv`` in ``count`` processes.

    Returns:
        0, or the exit code of the process that failed first; 130 after Ctrl-C.

    Raises:
        UserError: ``count`` is no number of processes, or one of them was killed.
    """
    if not count.isdecimal() or int(count) < 1:
        raise UserError(f"--nproc is {count!r}: give a number of processes, such as --nproc=2.")
    if "LOCAL_RANK" in os.environ:
        raise UserError("--nproc was given to a process of torchrun, which starts them itself: leave it out.")
    with ExitStack() as stack:
        told = [None, *(stack.enter_context(tempfile.TemporaryFile()) for _ in range(1, int(count)))]
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
        code, failed = watched(_started(argv, told))
        if failed and code != 130:  # the first process speaks for itself
            told[failed].seek(0)
            sys.stderr.write(told[failed].read().decode(errors="replace"))
    if code < 0:
        name = signal.Signals(-code).name
        raise UserError(f"Process {failed} was ended by {name}: go on with --resume=<run folder>.")
    return code


def _started(argv: Sequence[str], told: Sequence[IO | None]) -> list[subprocess.Popen]:
    """One process for each of ``told``, the files that take what it says on stderr; None: the screen."""
    shared = {
        "WORLD_SIZE": str(len(told)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")
        or str(max(1, (os.cpu_count() or 1) // len(told))),
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(Path(recbole_nif.__file__).parents[1]), os.environ.get("PYTHONPATH")])
        ),
    }
    command = [sys.executable, *(f"-W{option}" for option in sys.warnoptions), "-m", "recbole_nif.cli", *argv]
    return [
        subprocess.Popen(
            command,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=None if file is None else subprocess.DEVNULL,
            stderr=file,
        )
        for rank, file in enumerate(told)
    ]


def watched(processes: Sequence[subprocess.Popen]) -> tuple[int, int]:
    """The exit code, and which process it is of; when one fails, the others may not wait for it forever."""
    try:
        while all(process.poll() in (None, 0) for process in processes):
            if all(process.poll() == 0 for process in processes):
                return 0, 0
            time.sleep(PAUSE)
        first = next(rank for rank, process in enumerate(processes) if process.poll())
        _ended(processes)  # they may fail of its failure
        if processes[0].returncode == MISTAKE == processes[first].returncode:
            first = 0  # the same mistake, which it has told meanwhile
        return processes[first].returncode, first
    except KeyboardInterrupt:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        _ended(processes)
        return 130, 0


def _ended(processes: Sequence[subprocess.Popen]) -> None:
    """Waits for the processes for a while, then ends them."""
    until = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.terminate()
    for process in processes:
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]
