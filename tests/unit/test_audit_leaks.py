"""Changed logs, and the leak tests that compare a model's scores on them."""

import json
import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_nif import cli
from recbole_nif.audit import perturb
from recbole_nif.audit.leaks import Subject, around, audit_model, one_row_per_user
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.data.event_log import NO_LABEL, NO_ROW, EventLog
from tests.logs import make_log, make_table
from tests.toy import save_run, toy_config, toy_dataset, write_toy
from tests.unit import leaky_models

# 8 users of 30 rows; about every second row shares its time with the one before.
rng = random.Random(0)
ROWS = [
    (f"u{user}", f"m{item}", rng.choice([1, 2, 4, 5]), 1000 + 60 * user + place - place % rng.choice([1, 2]))
    for user in range(8)
    for place, item in enumerate(rng.sample(range(40), 30))
]
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


# -- which rows and events


def test_one_random_row_of_each_user_is_audited():
    users = torch.tensor([7, 7, 7, 4, 4, 9]).numpy()
    seen = {tuple(one_row_per_user(users, np.random.default_rng(seed))) for seed in range(50)}
    assert {len(rows) for rows in seen} == {3}
    assert {tuple(users[list(rows)]) for rows in seen} == {(4, 7, 9)}
    assert {rows[1] for rows in seen} == {0, 1, 2}


# User 1: times 0 1 1 1 2, row 2 audited; user 2 is not audited.
LOG = {"user": [1, 1, 1, 1, 1, 2], "item": [1, 2, 3, 4, 5, 6], "timestamp": [0, 1, 1, 1, 2, 0]}
LABEL = [1, 0, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("strict", "train", "later", "earlier"),
    [
        (True, [0], [1, 3, 4], [0]),
        (True, [0, 1], [3, 4], [0]),  # row 1 trains
        (False, [0], [3, 4], [0]),  # row 1 stands before row 2
    ],
)
def test_later_events_are_told_by_time_and_ties(strict, train, later, earlier):
    log = make_log(**LOG, label=LABEL, strict=strict)
    masks = around(log, torch.tensor([2]), torch.tensor(train))
    assert [mask.nonzero().flatten().tolist() for mask in masks] == [later, earlier]


def test_frozen_histories_end_with_the_last_training_row():
    train = torch.tensor([0, 5])
    log = make_log(**LOG, label=LABEL).freeze_after(train)
    later, earlier = around(log, torch.tensor([4]), train)
    assert later.nonzero().flatten().tolist() == [1, 2, 3]
    assert earlier.nonzero().flatten().tolist() == [0]


# -- changed logs


@pytest.fixture
def view(tmp_path):
    return toy_dataset(tmp_path, "NIFDIN", ROWS, history="all_with_label")[2]


def test_exchanged_events_keep_users_times_and_everybody_else(view):
    log = view.event_log
    member = torch.zeros(len(log), dtype=torch.bool)
    member[[3, 40, 41, 100, 200]] = True
    change = perturb.exchange(view, member, torch.Generator().manual_seed(0))
    assert 0 < change.events <= 5
    for name in ("item", "label", "rating", "scene", "behavior"):
        before, after = getattr(log, name), getattr(change.log, name)
        assert torch.equal(before[~member], after[~member])
        assert set(after[member].tolist()) <= set(before[member].tolist())
    assert torch.equal(change.log.timestamp, log.timestamp)
    assert torch.equal(change.log.clicks.positions, torch.nonzero(change.log.label == 1).flatten())


def test_exchanged_events_change_how_often_an_item_comes(view):
    everything = torch.ones(len(view.event_log), dtype=torch.bool)
    change = perturb.exchange(view, everything, torch.Generator().manual_seed(0))
    before, after = (torch.bincount(log.item.long(), minlength=41) for log in (view.event_log, change.log))
    assert (before != after).sum() > 20
    assert (change.log.item == view.event_log.item).float().mean() < 0.1


def test_a_rows_own_columns_go_with_its_event(view):
    everything = torch.ones(len(view.event_log), dtype=torch.bool)
    change = perturb.exchange(view, everything, torch.Generator().manual_seed(0))
    position = change.log.position.long()
    assert torch.equal(change.rows["item_id"], change.log.item[position].long())
    assert torch.equal(change.rows["label"].long(), change.log.label[position].long())
    for name in ("user_id", "timestamp", "row_id"):
        assert torch.equal(change.rows[name], view.all_rows[name])


def test_a_flipped_label_takes_behavior_and_rating_along(view):
    rows = torch.tensor([5, 17])
    change = perturb.flip_labels(view, rows)
    log, position = view.event_log, view.event_log.position[rows].long()
    assert torch.equal(change.log.label[position], 1 - log.label[position])
    assert torch.equal(change.log.behavior[position], 3 - log.behavior[position])
    assert torch.equal(change.log.rating[position], 6 - log.rating[position])
    assert torch.equal(change.rows["label"][rows], 1 - view.all_rows["label"][rows])
    assert (
        (change.log.label != log.label).sum() == (change.rows["label"] != view.all_rows["label"]).sum() == 2
    )


def test_labels_are_shuffled_inside_ties_only(view):
    log = view.event_log
    change = perturb.shuffle_labels_in_ties(view, torch.Generator().manual_seed(0))
    assert change.events == (change.log.label != log.label).sum() > 0
    group = log.tie_begin.long()
    clicks = [torch.bincount(group, weights=labels.double()) for labels in (log.label, change.log.label)]
    assert torch.equal(*clicks)
    assert torch.equal(change.log.item, log.item)
    assert torch.equal(change.log.behavior, change.log.label + 1)
    assert change.rows is view.all_rows


def test_moveline_events_exchange_and_shuffle_among_themselves():
    table = make_table([1] * 6, [1, 2, 3, 4, 5, 6], [0] * 6, [1, 0, 1, 0, 1, 0])
    label, row_id = np.array([1, 0, 1, 0, NO_LABEL, NO_LABEL]), np.array([0, 1, 2, 3, NO_ROW, NO_ROW])
    log = EventLog.build(replace(table, label=label, row_id=row_id), n_users=2, strict=True)
    rows = Interaction({"user": torch.ones(4), "item": torch.arange(1, 5), "time": torch.zeros(4)})
    dataset = SimpleNamespace(event_log=log, all_rows=rows, uid_field="user", time_field="time")
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        change = perturb.exchange(dataset, torch.ones(6, dtype=torch.bool), generator)
        unlabelled = log.row_id == NO_ROW
        assert change.log.item[unlabelled].tolist() == [6, 5]  # each the other one
        assert torch.equal(change.log.item[log.position.long()].long(), change.rows["item"])
        shuffled = perturb.shuffle_labels_in_ties(dataset, generator)
        for changed in (change, shuffled):
            assert torch.equal(changed.log.label == NO_LABEL, unlabelled)
        assert int((shuffled.log.label == 1).sum()) == 2


def test_a_view_on_another_log_leaves_the_first_one_alone(view):
    before = view[:]
    change = perturb.flip_labels(view, torch.arange(len(view.all_rows)))
    other = view.with_log(change.log, change.rows)
    assert torch.equal(other[:]["label"], 1 - before["label"])
    visible = before["label_list"] > 0
    assert torch.equal(other[:]["label_list"][visible], 3 - before["label_list"][visible])
    assert torch.equal(view[:]["label_list"], before["label_list"])


# -- the command


def run_of(folder, model):
    write_toy(folder, ROWS)
    config = toy_config(folder, model, embedding_size=2)
    return save_run(folder / "run", config, config.model_class(config, CTRDataset(config).build()[0]))


def test_a_leak_ends_with_code_1_and_is_named(tmp_path, capsys):
    run = run_of(tmp_path, leaky_models.SeesItsLabel)
    out = tmp_path / "audit.json"
    assert cli.main(["audit", f"--run={run}", f"--out={out}", "--passes", "2"]) == 1
    printed = capsys.readouterr().out
    assert "LEAK (own label flipped): 16 of 16 audited rows changed their score, by up to 0." in printed
    record = json.loads(out.read_text())
    assert record["leaks"] == ["own label flipped"]
    assert record["model"] == "tests.unit.leaky_models:SeesItsLabel"
    assert [test["verdict"] for test in record["score_tests"]] == ["LEAK", "passed", "history is read"]


def test_an_honest_run_ends_with_code_0_wherever_its_data_lie_now(tmp_path, capsys):
    run = run_of(tmp_path / "then", leaky_models.Honest)
    (tmp_path / "now").mkdir()
    (tmp_path / "then" / "toy").rename(tmp_path / "now" / "toy")
    assert cli.main(["audit", "--run", str(run), f"--data_path={tmp_path / 'now'}"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("passed") == 2
    assert "LEAK" not in printed


def test_the_facts_of_a_dataset_are_printed_and_written(tmp_path, capsys):
    write_toy(tmp_path, ROWS)
    settings = [f"--{key}={value}" for key, value in toy_config(tmp_path).resolved().items() if key in KEYS]
    out = tmp_path / "audit.json"
    assert cli.main(["audit", "toy", *settings, "--split_preset=global_time", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("toy: split global_time, split_ties cut, history_ties strict")
    table = [line for line in printed.splitlines() if line.startswith("|")]
    assert len({len(line) for line in table}) == 1  # aligned
    record = json.loads(out.read_text())
    assert record["rows"] == {"train": 192, "valid": 24, "test": 24}
    assert len(table) == len(record["facts"]) + len(record["baselines"]) + 4
    assert record["baselines"]["item_user_recent"]["logloss"] > 0


KEYS = ("data_path", "load_col", "threshold", "device")


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--run", "nowhere"], "finetune-best.pt does not exist"),
        (["ml-100k", "--run", "saved/x"], "either the dataset ml-100k or --run"),
        (["--run"], "expected one argument"),
        (["ml-100k", "--passes=few"], "invalid int value"),
        (["ml-100k", "--passes=0"], "--passes is 0"),
        (["ml-100k", "--out=no/such/folder.json"], "folder of --out"),
        (["ml-100k", "--splt_preset=random"], "did you mean 'split_preset'"),
        ([], "No dataset is named"),
    ],
)
def test_a_wrong_call_is_told_in_a_sentence(argv, told, capsys):
    assert cli.main(["audit", *argv]) == 2
    printed = capsys.readouterr().err
    assert told in printed
    assert len(printed.splitlines()) == 1


def test_help_is_printed_without_an_audit(capsys):
    assert cli.main(["audit", "--help"]) == 0
    assert "--run FOLDER" in capsys.readouterr().out
