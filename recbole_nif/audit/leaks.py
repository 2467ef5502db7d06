"""Tests of a trained model: what changes its scores, and what must not.

The model is built anew on a changed copy of the data and gets back what training made of its state, so that
it also sees the change where it keeps the dataset or a table of it. All test rows are scored each time, in
the same batches; scores are compared on audited rows, one random row per user and pass, so that no audited
row stands in another one's history. What a loss reads is not seen here: the model is not trained again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from recbole.utils import init_seed
from torch import Tensor, nn

from recbole_nif.audit import perturb
from recbole_nif.audit.perturb import Change
from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.data.event_log import EventLog
from recbole_nif.data.fields import ROW_ID
from recbole_nif.evaluation.metrics import auc
from recbole_nif.evaluation.scoring import score_rows

TOLERANCE = 1e-6  # of a probability: what float32 loses when another row's history changes a batch's width


@dataclass(frozen=True)
class ScoreTest:
    """How a change of the data moved the scores of the audited rows.

    must_hold: whether a moved score is a leak; else the test only shows what the model reads.
    events: how many events were changed, over all passes; rows: audited rows; moved: those whose score
    differs by more than ``TOLERANCE``; largest: the largest difference of a probability.
    """

    name: str
    must_hold: bool
    rows: int
    events: int
    moved: int
    largest: float

    @property
    def failed(self) -> bool:
        return self.must_hold and self.moved > 0

    @property
    def empty(self) -> bool:
        """Nothing was there to change, so the test says nothing."""
        return self.events == 0


@dataclass(frozen=True)
class AUCTest:
    """AUC on all test rows, as trained and with other histories; ``skipped`` says why there is none."""

    name: str
    before: float | None = None
    after: float | None = None
    skipped: str | None = None

    @property
    def difference(self) -> float | None:
        return None if self.skipped else self.after - self.before


@dataclass(frozen=True)
class LeakReport:
    rows: int
    auc: float
    score_tests: list[ScoreTest]
    auc_tests: list[AUCTest]

    @property
    def leaks(self) -> list[ScoreTest]:
        return [test for test in self.score_tests if test.failed]


class Subject:
    """A trained model that can score its test rows on other data.

    Args:
        config: the run's ``NIFConfig``.
        model: the trained model; only its weights are used.
        views: training, validation and test view.
    """

    def __init__(self, config, model: nn.Module, views: Sequence):
        self.config, self.views, self.test = config, views, views[2]
        self.rows = self.test.inter_feat[ROW_ID]
        self.users = self.test.inter_feat[self.test.uid_field].numpy()
        self.labels = self.test.inter_feat[self.test.label_field].numpy()
        self.state = _learned(model, self._built_on(views[0]))

    def scores(self, log: EventLog, rows=None) -> np.ndarray:
        """Probabilities [T] of the test rows on another log and other columns of the rows."""
        train, test = (view.with_log(log, rows) for view in (self.views[0], self.test))
        model = self._built_on(train)
        model.load_state_dict(model.state_dict() | self.state)
        loader = CTRDataLoader(self.config, test, phase="test")
        scored = score_rows(model, loader, self.config, self.config["show_progress"])
        return scored.score[np.searchsorted(scored.row_id, self.rows.numpy())]

    def auc(self, log: EventLog) -> float:
        """AUC of the test rows' own labels when histories come from ``log``."""
        return auc(self.labels, self.scores(log))

    def _built_on(self, train) -> nn.Module:
        config = self.config
        init_seed(config["seed"], config["reproducibility"])  # for what a model draws and does not save
        return config.model_class(config, train).to(config["device"])


def _learned(model: nn.Module, built: nn.Module) -> dict:
    """The state of a trained model, without buffers and frozen weights that are as they were built.

    Those come from the data, such as the click rate of each item, and are to come from the changed data too.
    """
    fixed = dict(built.named_buffers(remove_duplicate=False))
    fixed |= {name: weight for name, weight in built.named_parameters() if not weight.requires_grad}
    state = model.state_dict()
    return {
        name: value
        for name, value in state.items()
        if name not in fixed or not torch.allclose(value, fixed[name], equal_nan=True)
    }


def audit_model(config, model: nn.Module, views: Sequence, passes: int = 3) -> LeakReport:
    """Runs all tests; see :class:`Subject` for the arguments.

    passes: how many rows of each user are audited.
    """
    subject = Subject(config, model, views)
    before = subject.scores(subject.test.event_log)
    value = auc(subject.labels, before)
    return LeakReport(
        rows=len(before),
        auc=value,
        score_tests=_score_tests(subject, before, passes),
        auc_tests=_auc_tests(subject, value),
    )


# -- scores that must not move, and one that may


def _score_tests(subject: Subject, before: np.ndarray, passes: int) -> list[ScoreTest]:
    rng = np.random.default_rng([subject.config["seed"], 5])
    generator = torch.Generator().manual_seed(subject.config["seed"])
    test, train_rows = subject.test, subject.views[0].train_rows
    tallies = [
        _Tally("own label flipped"),
        _Tally("later events exchanged"),
        _Tally("earlier events exchanged"),
    ]
    for _ in range(passes):
        audited = one_row_per_user(subject.users, rng)
        rows = subject.rows[audited]
        later, earlier = around(test.event_log, rows, train_rows)
        changes = (
            perturb.flip_labels(test, rows),
            perturb.exchange(test, later, generator),
            perturb.exchange(test, earlier, generator),
        )
        for tally, change in zip(tallies, changes, strict=True):
            after = subject.scores(change.log, change.rows)
            tally.add(change, np.abs(after - before)[audited])
    return [tally.result(must_hold) for tally, must_hold in zip(tallies, (True, True, False), strict=True)]


class _Tally:
    """Adds up what the passes of one test found."""

    def __init__(self, name: str):
        self.name, self.events, self.moves = name, 0, []

    def add(self, change: Change, moves: np.ndarray) -> None:
        self.events += change.events
        self.moves.append(moves)

    def result(self, must_hold: bool) -> ScoreTest:
        moves = np.concatenate(self.moves)
        moved = int((~(moves <= TOLERANCE)).sum())  # NaN counts as moved
        return ScoreTest(self.name, must_hold, len(moves), self.events, moved, float(moves.max()))


def one_row_per_user(users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices into ``users`` [T] of one random row of each user, [U]."""
    order = rng.permutation(len(users))
    return order[np.unique(users[order], return_index=True)[1]]


def around(log: EventLog, rows: Tensor, train_rows: Tensor) -> tuple[Tensor, Tensor]:
    """Which events lie after, and which before, the audited row of their user; bool [N] each.

    Told by timestamps, not by the ranges that the log hands out, which are under test too. Under
    ``history_ties: strict`` the other events of a row's own timestamp count as later, except for training
    rows, of which a model may keep statistics; under ``order`` those behind it do. Where histories are
    frozen, everything past the user's last training row is later.

    rows: [U] row ids, at most one per user.
    """
    position = log.position[rows].long()
    of_user = torch.full((len(log.offsets),), -1)
    of_user[log.user[position].long()] = position
    own = of_user[log.user.long()]  # [N], the audited event of the event's user, -1 for none
    audited, place = own >= 0, torch.arange(len(log))
    time, own_time = log.timestamp, log.timestamp[own.clamp(min=0)]

    later = time > own_time
    trained = torch.zeros(len(log), dtype=torch.bool)
    trained[log.position[train_rows].long()] = True
    tied = ~trained if log.strict else place > own
    later |= (time == own_time) & tied
    if log.frozen_end is not None:
        last = time.new_full((len(log.offsets),), time.min() - 1)
        last.scatter_reduce_(0, log.user[trained].long(), time[trained], "amax")
        later |= time > last[log.user.long()]
    later &= audited & (place != own)
    return later, audited & (time < own_time) & ~later


# -- what simultaneous events and the histories of test rows are worth


def _auc_tests(subject: Subject, before: float) -> list[AUCTest]:
    log, config = subject.test.event_log, subject.config
    ties = "order" if log.strict else "strict"
    tests = [AUCTest(f"history_ties: {ties}", before, subject.auc(replace(log, strict=not log.strict)))]

    name = "labels shuffled inside ties"
    change = perturb.shuffle_labels_in_ties(subject.test, torch.Generator().manual_seed(config["seed"]))
    if change.events:
        tests.append(AUCTest(name, before, subject.auc(change.log)))
    else:
        tests.append(AUCTest(name, skipped="no two simultaneous rows of a user have different labels"))

    if config["eval_args"]["order"] != "TO":
        tests.append(AUCTest("history_until: train", skipped="the split is not by time"))
    elif log.frozen_end is None:
        frozen = log.freeze_after(subject.test.train_rows)
        tests.append(AUCTest("history_until: train", before, subject.auc(frozen)))
    else:
        tests.append(AUCTest("history_until: online", before, subject.auc(replace(log, frozen_end=None))))
    return tests
