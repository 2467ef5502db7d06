"""Answers requests one after the other in a thread of its own; what waits meanwhile is scored in one pass.

Order is kept: a request sees all events that were appended before it came, and none that came later.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from recbole_nif.errors import UserError
from recbole_nif.inference.requests import time_of
from recbole_nif.inference.scorer import Scorer

MOST_AT_ONCE = 64  # requests


class Busy(Exception):
    """Too many requests wait already."""


@dataclass(frozen=True)
class Pairs:
    """A request for scores of items for a user of the log, which can be answered together with others."""

    user: str | int
    items: Sequence[str | int]
    at: float | None


@dataclass(frozen=True, eq=False)
class Job:
    """A request: what answers it, alone or with others, whether it changes the log, and who waits for it."""

    call: Callable[[Scorer], Any]
    pairs: Pairs | None
    changes: bool
    answer: asyncio.Future


class Worker:
    """A queue before a scorer.

    Args:
        scorer: nobody else may use it while the worker runs.
        wait: seconds for which the first of several requests waits for others.
        most_waiting: jobs in the queue.
        on_batch: is told how many requests were answered at once.
    """

    def __init__(self, scorer: Scorer, wait: float, most_waiting: int, on_batch: Callable[[int], None]):
        self.scorer, self.wait, self.on_batch = scorer, wait, on_batch
        self._queue: asyncio.Queue[Job] = asyncio.Queue(most_waiting)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")

    async def ask(
        self, call: Callable[[Scorer], Any], *, pairs: Pairs | None = None, changes: bool = False
    ) -> Any:
        """What ``call`` returns; with ``pairs`` their scores, as ``call`` alone gives them up to rounding.

        changes: whether ``call`` appends events.

        Raises:
            Busy: the queue is full; and what ``call`` raises.
        """
        answer = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(Job(call, pairs, changes, answer))
        except asyncio.QueueFull:
            raise Busy from None
        return await answer

    async def run(self) -> None:
        """Answers until it is cancelled, whatever a request brings about."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                jobs = [await self._queue.get()]
                if self.wait and jobs[0].pairs is not None:
                    await asyncio.sleep(self.wait)
                while not self._queue.empty() and len(jobs) < MOST_AT_ONCE:
                    jobs.append(self._queue.get_nowait())
                try:
                    answers = await loop.run_in_executor(self._thread, self._answers, jobs)
                except Exception as error:
                    answers = dict.fromkeys(jobs, error)
                for job in jobs:
                    _give(answers[job], job.answer)
        finally:
            self._thread.shutdown()

    def _answers(self, jobs: Sequence[Job]) -> dict[Job, Any]:
        """The answer of each job, or what it raised."""
        answers: dict[Job, Any] = {}
        for changes, group in groupby(jobs, key=lambda job: job.changes):
            by_kind = defaultdict(list)
            for job in group:
                by_kind[None if changes else self._kind(job.pairs)].append(job)
            for kind, same in by_kind.items():
                answers |= self._answers_of(same, kind)
        return answers

    def _answers_of(self, jobs: list[Job], kind: str | None) -> dict[Job, Any]:
        together = kind is not None and len(jobs) > 1
        scores = self._merged([job.pairs for job in jobs]) if together else None
        for size in [len(jobs)] if scores else [1] * len(jobs):
            self.on_batch(size)
        return dict(zip(jobs, scores or map(self._single, jobs), strict=True))

    def _kind(self, pairs: Pairs | None) -> str | None:
        """Requests of one kind can be one table; None: this one cannot."""
        if pairs is None or (pairs.at is not None and self.scorer.data.rule.time is None):
            return None
        try:
            time = time_of(pairs.at)
        except UserError:
            return None
        return "now" if time is None else time.dtype.kind  # among floats, whole times would be rounded

    def _merged(self, requests: Sequence[Pairs]) -> list[np.ndarray] | None:
        """Scores of several requests in one pass; None where that fails: for which, is found singly."""
        data, counts = self.scorer.data, [len(request.items) for request in requests]
        table = {
            data.user_field: [request.user for request in requests for _ in request.items],
            data.item_field: [item for request in requests for item in request.items],
        }
        if requests[0].at is not None:
            table[data.rule.time] = [request.at for request in requests for _ in request.items]
        try:
            scores = self.scorer.score_pairs(pd.DataFrame(table))
        except Exception:
            return None
        return np.split(scores, np.cumsum(counts)[:-1])

    def _single(self, job: Job) -> Any:
        try:
            return job.call(self.scorer)
        except Exception as error:  # of this request alone: the others get their answers
            return error


def _give(answer: Any, waiting: asyncio.Future) -> None:
    if waiting.cancelled():  # the client has gone
        return
    if isinstance(answer, BaseException):
        waiting.set_exception(answer)
    else:
        waiting.set_result(answer)
