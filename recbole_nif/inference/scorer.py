"""Scorer: a trained run that answers requests in the tokens of the user's own files."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from recbole_nif.analysis.cases import Case
from recbole_nif.analysis.parts import parts_of
from recbole_nif.analysis.runs import load_run
from recbole_nif.errors import UserError
from recbole_nif.inference.columns import PADDING, as_tokens
from recbole_nif.inference.engine import Engine
from recbole_nif.inference.explained import Explained
from recbole_nif.inference.frames import as_frame, require, times_of
from recbole_nif.inference.network import Network
from recbole_nif.inference.new_items import NewItems
from recbole_nif.inference.ranking import best
from recbole_nif.inference.requests import context_columns, time_of
from recbole_nif.inference.serving_data import ServingData
from recbole_nif.inference.state_cache import StateCache
from recbole_nif.inference.viewers import viewer_of
from recbole_nif.model.base import CTRModel

CACHE_SIZE = 64 << 20


class Scorer:
    """Scores of candidates, as of any time, by one trained model.

    Users and items are named by their tokens; whole numbers stand for the tokens that are written so. What is
    read of the past follows the run's own settings (``history``, ``history_ties``, windows, label rule), by
    the code that trained it: with ``at`` = a row's own time the score is that of the run's evaluation.

    What is unknown:
        - An item that the data do not have is padding: no id, no features, one score for all of them. After
          :meth:`add_items` it has its features and, where the model reads them, semantic codes.
        - A user that the data do not have, without history: no id, no events, but ``user_features``.
        - An unknown value of a feature is padding, a missing number the mean of the data.
        RecBole's own models keep a vector for padding that was never trained; ours are zero there. RecBole's
        DIN and DIEN look features up by id, so that they have none of what is unknown.

    Times (``at``) are in the data's unit. None is directly behind the user's last event: all are seen. With
    ``history_ties: strict`` events before ``at`` are seen, with ``order`` also those of ``at`` itself; a row
    of the data that is asked for at its own time would then see itself. Of a run with ``history_until:
    train`` the events of the data behind its training split do not count.

    All methods may be called from several threads: one answers at a time, with all updates that came before.

    Args:
        model: trained, in evaluation mode.
        data: what is known of users, items and events.
        cache_size: bytes of user states that are kept between calls; 0 keeps none.
    """

    def __init__(self, model: nn.Module, data: ServingData, cache_size: int = CACHE_SIZE):
        self.data, self.log, self.model = data, data.user_log(), model
        self.cache = StateCache(cache_size)
        network, batch_size = Network.of(model, data.config), data.config["eval_batch_size"]
        self.engine = Engine(network, data, self.log, self.cache, batch_size)
        self._n_trained = data.n_items
        if not isinstance(model, CTRModel):  # its tables know no further items
            data.rule = replace(data.rule, last_item=data.n_items - 1)
        self._lock = threading.RLock()

    @classmethod
    def load(
        cls,
        run_folder: str | Path,
        device: str = "auto",
        data_path: str | Path | None = None,
        cache_size: int = CACHE_SIZE,
        settings: Sequence[str] = (),
    ) -> Scorer:
        """The scorer of a run's folder, or of an export of it.

        Args:
            run_folder: with ``checkpoints/finetune-best.pt``; an export needs no files of the data.
            device: as the configuration's key.
            data_path: folder of the data, where it is not the one of training.
            cache_size: as above.
            settings: further options that win over the run's, as on the command line.

        Raises:
            UserError: the folder is no run's, its data are missing, or its weights do not fit them.
        """
        from recbole_nif.export.read import is_export, read_export  # it is made of what is below

        argv = [] if device == "auto" else [f"--device={device}"]  # as a run is loaded anyway
        argv += [] if data_path is None else [f"--data_path={data_path}"]
        if is_export(run_folder):
            _, model, data = read_export(run_folder, [*argv, *settings])
            return cls(model, data, cache_size)
        config, model, views = load_run(Path(run_folder), [*argv, *settings])
        return cls(model, ServingData.of_dataset(config, views[0]), cache_size)

    # -- scores

    def score(
        self,
        user=None,
        items: Iterable = (),
        *,
        history=None,
        user_features: Mapping | None = None,
        at: float | None = None,
        context: Mapping | None = None,
    ) -> np.ndarray:
        """Click probabilities of ``items`` for one user, [N] float32 in the order of ``items``.

        Args:
            user: token; None or unknown = a user without id.
            items: tokens.
            history: events that stand for those of the log: a DataFrame, an Arrow table or a list of
                mappings with the data's columns (item, time, and the label or what the run makes it of; also
                scene and behavior, where the data have them).
            user_features: column -> value, in place of what the data say of the user.
            at: time of the request.
            context: column -> value, or a list of one value per item; missing ones are padding.

        Raises:
            UserError: a wrong column, time or label.
        """
        time = time_of(at)
        with self._lock:
            viewer = viewer_of(self.data, self.log, user, history, user_features)
            ids = self._item_ids(items)
            columns = context_columns(self.data, context, len(ids), time)
            return self.engine.scores(self.engine.state(viewer, time), ids, columns)

    def score_pairs(self, table) -> np.ndarray:
        """Click probabilities of the rows of a table, [N] float32.

        Args:
            table: a DataFrame or an Arrow table with a column of users, one of items, and as far as it has
                them of times (each row as of its own; else behind all events) and contexts.

        Raises:
            UserError: a column or a value is missing, or a time is no number.
        """
        frame, data = as_frame(table), self.data
        require(frame, [data.user_field, data.item_field])
        time = data.rule.time
        at = times_of(frame, time) if time in frame else None
        with self._lock:
            users, items = self._user_numbers(frame[data.user_field]), self._item_ids(frame[data.item_field])
            context = context_columns(self.data, frame, len(frame), at)
            return self.engine.pair_scores(users, items, at, context)

    def topk(
        self,
        user=None,
        k: int = 10,
        exclude_seen: bool = True,
        candidates: Iterable | None = None,
        at: float | None = None,
        *,
        generated: int | None = None,
        history=None,
        user_features: Mapping | None = None,
        context: Mapping | None = None,
    ) -> pd.DataFrame:
        """The ``k`` candidates with the highest scores, columns ``item`` and ``score``, best first.

        Equal scores are in the order of the items' ids, so that the answer is always the same.

        Args:
            user, at, history, user_features: as of :meth:`score`.
            exclude_seen: leaves out items that any event of the user has, as of ``at``.
            candidates: tokens, unknown ones left out; None = every item that any event has, and added ones.
            generated: only so many of them are scored: those nearest to AMEN's flow, or to GenCI's beams.
            context: column -> value, for all candidates.

        Raises:
            UserError: as of :meth:`score`; ``k`` or ``generated`` below 1; a model that generates nothing.
        """
        for name, number in (("k", k), ("generated", generated)):
            if number is not None and number < 1:
                raise UserError(f"{name} is {number}: give at least 1.")
        time = time_of(at)
        with self._lock:
            viewer = viewer_of(self.data, self.log, user, history, user_features)
            ids = self.items() if candidates is None else np.unique(self._item_ids(candidates))
            ids = ids[ids != PADDING]
            if exclude_seen:
                ids = ids[~np.isin(ids, viewer.events.item[: self.engine.n_visible(viewer, time)])]
            if generated is not None:
                ids = self.engine.nearest(viewer, time, ids, generated)
            columns = context_columns(self.data, context, len(ids), time)
            scores = self.engine.scores(self.engine.state(viewer, time), ids, columns)
            chosen = best(scores, k)
            tokens = self.data.columns.tokens[self.data.item_field][ids[chosen]]
            return pd.DataFrame({"item": tokens.astype(object), "score": scores[chosen]})

    def explain(
        self,
        user,
        item,
        *,
        history=None,
        user_features: Mapping | None = None,
        at: float | None = None,
        context: Mapping | None = None,
        top: int = 15,
    ) -> Explained:
        """Why an item scores as it does: what the command ``explain`` shows, as of any time.

        Args:
            user, history, user_features, at, context: as of :meth:`score`; ``item``: a known or added one.
            top: how many events are listed.

        Raises:
            UserError: as of :meth:`score`, or an unknown item.
        """
        time = time_of(at)
        with self._lock:
            viewer = viewer_of(self.data, self.log, user, history, user_features)
            ids = self._item_ids([item])
            if ids[0] == PADDING:
                raise UserError(f"Item {item!r} is unknown: nothing of it can be explained.")
            columns = context_columns(self.data, context, 1, time)
            score = self.engine.scores(self.engine.state(viewer, time), ids, columns)[0]
            parts = []
            if isinstance(self.model, CTRModel):
                network, view = self.engine.network, self.engine.view(viewer, time)
                batch = view.read(viewer.columns(self.data))
                batch.update(network.candidates(self.data, torch.from_numpy(ids), columns))
                case = Case(viewer.id, int(ids[0]), 0, None, batch)
                parts = parts_of(network.explain(batch), case, view, self.data.names, top)
            return Explained("" if user is None else str(user), str(item), float(score), tuple(parts))

    # -- what changes

    def update(self, user, events) -> int:
        """Appends events to a user, known or not, and returns how many; later scores see them.

        Events that the data would not have kept, such as those of a filtered ``val_interval``, are left out.

        Args:
            user: token.
            events: as ``history`` of :meth:`score`; not earlier than what the user has.

        Raises:
            UserError: as of :meth:`score`, or an event before the user's last; nothing is appended then.
        """
        with self._lock:
            (token,) = as_tokens([user])
            if not token:
                raise UserError("The events have no user: give the token of one.")
            number = self._user_numbers([token])[0]
            read = self.data.rule.read(events, self.data.columns, max(number, PADDING), self.log.item_rank)
            self.log.append(number or self.log.admit(token), read)
            return len(read)

    def add_items(self, table) -> int:
        """Makes items known that came after training, by their features and texts; returns how many.

        Items that are known already stay as they are. Semantic codes come from the run's quantizer, where the
        table has the columns of ``item_text``.

        Args:
            table: as of :meth:`score_pairs`, with a column of items, and as far as it has them of features.

        Raises:
            UserError: a missing token, or a model with tables by item of its own that cannot grow.
        """
        with self._lock:
            new = NewItems.read(self.data, as_frame(table))
            if len(new):
                new.add_to(self.model, self.data, self.log)
                self.cache.clear()
            return len(new)

    def items(self) -> np.ndarray:
        """Ids of the items that are candidates by default: those of any event, and added ones; ascending."""
        added = np.arange(self._n_trained, self.data.n_items)
        return np.union1d(self.log.items(), added)

    # -- parts

    def _user_numbers(self, tokens: Iterable) -> np.ndarray:
        """Numbers of users in the log, [N]; 0 for those without id and events."""
        tokens = as_tokens(tokens)
        numbers = self.data.columns.ids(self.data.user_field, tokens)
        unknown = np.flatnonzero(numbers == PADDING)
        numbers[unknown] = [self.log.stranger(token) for token in tokens[unknown]]
        return numbers

    def _item_ids(self, tokens: Iterable) -> np.ndarray:
        if isinstance(tokens, str):
            raise UserError(f"items is the text {tokens!r}: give a list of tokens.")
        return self.data.columns.ids(self.data.item_field, tokens)
