"""The leak tests of a trained model: which models they catch, and which pass."""

import random

import numpy as np
import pytest
import torch

from recbole_nif.audit.leaks import Subject, audit_model
from recbole_nif.data.dataset import CTRDataset
from tests.toy import toy_config, write_toy
from tests.unit import leaky_models
from tests.unit.leaky_models import ROWS

CATCHES = [
    (leaky_models.SeesItsLabel, ["own label flipped"]),
    (leaky_models.SeesItsRatingInTheLog, ["own label flipped"]),
    (leaky_models.SeesItsBehaviorInTheLog, ["own label flipped"]),
    (leaky_models.SeesTheNextItem, ["later events exchanged"]),
    (leaky_models.RemembersTheNextLabel, ["later events exchanged"]),
    (leaky_models.KeepsARateOfAllLabels, ["own label flipped", "later events exchanged"]),
    (leaky_models.CountsTheFuture, ["later events exchanged"]),
    (leaky_models.SeesItsOwnSecond, ["later events exchanged"]),
]


def audit(folder, model, **overrides):
    write_toy(folder, overrides.pop("rows", ROWS))
    config = toy_config(folder, model, embedding_size=2, **overrides)
    views = CTRDataset(config).build()
    torch.manual_seed(0)
    return audit_model(config, config.model_class(config, views[0]), views)


def by_name(tests):
    return {test.name: test for test in tests}


# -- the tests of a model


@pytest.mark.parametrize(("model", "names"), CATCHES)
def test_a_model_that_leaks_is_caught_by_the_tests_made_for_it(tmp_path, model, names):
    report = audit(tmp_path, model)
    assert [leak.name for leak in report.leaks] == names
    assert report.leaks[0].largest > 1e-3


def test_an_honest_model_passes_and_its_history_shows(tmp_path):
    report = audit(tmp_path, leaky_models.Honest)
    assert report.leaks == []
    tests = by_name(report.score_tests)
    assert tests["own label flipped"].rows == tests["own label flipped"].events == 3 * 8
    assert tests["later events exchanged"].events > 0
    assert tests["earlier events exchanged"].moved > 0
    assert not tests["earlier events exchanged"].failed


class Restored(leaky_models.Honest):
    """Training moved its buffer, which a model built anew does not have so."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.register_buffer("learned", torch.zeros(1))

    def peek(self, batch):
        return self.learned


def test_what_training_made_of_a_buffer_is_kept(tmp_path):
    write_toy(tmp_path, ROWS)
    config = toy_config(tmp_path, Restored, embedding_size=2)
    views = CTRDataset(config).build()
    model = config.model_class(config, views[0])
    without = Subject(config, model, views).scores(views[2].event_log)
    model.learned.fill_(0.5)
    assert np.all(Subject(config, model, views).scores(views[2].event_log) > without)


def test_a_model_without_a_history_moves_in_no_test(tmp_path):
    report = audit(tmp_path, leaky_models.BlindToEverything)
    assert [test.moved for test in report.score_tests] == [0, 0, 0]
    assert [test.difference for test in report.auc_tests] == [0, 0, 0]


def test_with_history_ties_order_a_model_may_read_the_events_before_it(tmp_path):
    rows = [(user, item, rating, 1000 + place // 3) for place, (user, item, rating, _) in enumerate(ROWS)]
    report = audit(tmp_path, leaky_models.SeesItsOwnSecond, rows=rows, history_ties="order")
    assert report.leaks == []
    assert by_name(report.auc_tests)["labels shuffled inside ties"].difference != 0


def test_what_labels_of_the_same_timestamp_are_worth_is_shown(tmp_path):
    # two rows share a time and their label, which nothing else tells
    rng = random.Random(0)
    rows = [
        (f"u{user}", f"m{rng.randrange(100)}", rating, 1000 + pair)
        for user in range(8)
        for pair, rating in enumerate(rng.choices([1, 5], k=20))
        for _ in range(2)
    ]
    strict = by_name(audit(tmp_path / "a", leaky_models.Honest, rows=rows).auc_tests)
    order = by_name(audit(tmp_path / "b", leaky_models.Honest, rows=rows, history_ties="order").auc_tests)
    gain = strict["history_ties: order"].difference
    assert gain > 0.1
    assert order["history_ties: strict"].difference == pytest.approx(-gain)


def test_with_frozen_histories_events_of_the_test_split_are_later_ones(tmp_path):
    honest = audit(tmp_path, "NIFDIN", history_until="train")
    assert honest.leaks == []
    assert "history_until: online" in by_name(honest.auc_tests)
    report = audit(tmp_path, leaky_models.ReadsOnline, history_until="train")
    assert [leak.name for leak in report.leaks] == ["later events exchanged"]


def test_what_cannot_be_tested_says_why(tmp_path):
    random_split = audit(tmp_path / "random", leaky_models.Honest, split_preset="random")
    assert "not by time" in by_name(random_split.auc_tests)["history_until: train"].skipped
    apart = [(user, item, rating, 1000 + place) for place, (user, item, rating, _) in enumerate(ROWS)]
    report = audit(tmp_path, leaky_models.SeesTheNextItem, rows=apart, split_preset="leave_one_out")
    assert "simultaneous" in by_name(report.auc_tests)["labels shuffled inside ties"].skipped
    assert by_name(report.score_tests)["later events exchanged"].empty  # the test row is a user's last
