"""From users, times and items to scores: each user state is computed once, then all its candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_nif.data.event_log import gap_bucket
from recbole_nif.inference.columns import PADDING
from recbole_nif.inference.network import Network
from recbole_nif.inference.ranking import best
from recbole_nif.inference.serving_data import ServingData, View
from recbole_nif.inference.state_cache import StateCache
from recbole_nif.inference.user_log import UserLog, given
from recbole_nif.inference.viewers import Viewer


class Engine:
    """The model with what it reads.

    Args:
        network: the model in its two halves.
        data, log: what is known of users and items, and their events.
        cache: of states of single users.
        batch_size: candidates that are scored at once.
    """

    def __init__(self, network: Network, data: ServingData, log: UserLog, cache: StateCache, batch_size: int):
        self.network, self.data, self.log = network, data, log
        self.cache, self.batch_size = cache, batch_size

    # -- one user, many candidates

    def n_visible(self, viewer: Viewer, at: np.ndarray | None) -> int:
        """How many of a viewer's events, which are in order, are seen; at: [1], None = behind all."""
        if at is None:
            return len(viewer.events)
        return int(np.searchsorted(viewer.events.timestamp, at[0], "left" if self.log.strict else "right"))

    def view(self, viewer: Viewer, at: np.ndarray | None) -> View:
        """A log of the viewer alone, with one query."""
        return self.data.view(given([viewer.events], self.log.strict)).ask(np.zeros(1, dtype=int), at)

    def state(self, viewer: Viewer, at: np.ndarray | None) -> Any:
        """The state of one user, from the cache where nothing that it depends on has changed."""
        seen, gap = self.n_visible(viewer, at), 0
        if self.data.needs.moveline and at is not None and seen:
            gap = int(gap_bucket(torch.tensor(float(at[0] - viewer.events.timestamp[seen - 1]))))
        key = (*viewer.key, seen, gap)  # the time of the request is read as a gap only
        state = self.cache.get(key)
        if state is None:
            state = self.network.encode(self.view(viewer, at).read(viewer.columns(self.data)))
            self.cache.put(key, state)
        return state

    def scores(self, state: Any, items: np.ndarray, context: dict[str, Tensor]) -> np.ndarray:
        """Probabilities of items [N] in contexts [N, ...] for one user, [N] float32."""
        scores = np.empty(len(items), dtype=np.float32)
        for first in range(0, len(items), self.batch_size):
            part = slice(first, first + self.batch_size)
            own = {name: column[part] for name, column in context.items()}
            scores[part] = self._score(state, items[part], own, np.zeros(len(items[part]), dtype=int))
        return scores

    def nearest(self, viewer: Viewer, at: np.ndarray | None, items: np.ndarray, count: int) -> np.ndarray:
        """The ``count`` of ``items`` [N] nearest to what the model generates for one user, ascending.

        Raises:
            UserError: it generates nothing.
        """
        near = self.network.nearness(self.view(viewer, at).read(viewer.columns(self.data)))[0].numpy()
        items = items[near[items] > -np.inf]
        return np.sort(items[best(near[items], count)])

    # -- many users

    def pair_scores(
        self, users: np.ndarray, items: np.ndarray, at: np.ndarray | None, context: dict[str, Tensor]
    ) -> np.ndarray:
        """Probabilities of pairs, [N] float32.

        Args:
            users: [N], numbers of the log; items: [N] ids; at: [N], None = behind all events.
            context: columns [N, ...].
        """
        order = np.argsort(users, kind="stable") if at is None else np.lexsort((at, users))
        different, number = np.unique(users, return_inverse=True)
        view = self.data.view(self.log.read(different))
        scores = np.empty(len(users), dtype=np.float32)
        for first in range(0, len(users), self.batch_size):
            rows = order[first : first + self.batch_size]  # neighbors share states and windows
            asked, state_of_row = _distinct(users[rows], None if at is None else at[rows])
            first_rows = rows[asked]  # [S]
            queries = view.ask(number[first_rows], None if at is None else at[first_rows])
            ids = users[first_rows].clip(min=PADDING)
            state = self.network.encode(queries.read(self.data.user_columns(ids)))
            own = {name: column[torch.from_numpy(rows)] for name, column in context.items()}
            scores[rows] = self._score(state, items[rows], own, state_of_row)
        return scores

    def _score(
        self, state: Any, items: np.ndarray, context: dict[str, Tensor], rows: np.ndarray
    ) -> np.ndarray:
        """``rows`` [N] names the state of each candidate."""
        candidates = self.network.candidates(self.data, torch.from_numpy(items), context)
        return self.network.score(state, candidates, torch.from_numpy(rows)).numpy()


def _distinct(user: np.ndarray, at: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The first place of each different (user, time) of sorted rows [N], and which one each row has, [N]."""
    new = np.ones(len(user), dtype=bool)
    new[1:] = user[1:] != user[:-1]
    if at is not None:
        new[1:] |= at[1:] != at[:-1]
    return np.flatnonzero(new), np.cumsum(new) - 1
