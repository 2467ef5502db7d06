"""Input that is odd but not wrong: the run succeeds, and what the oddity must not change stays the same."""

import json
import random

import pytest

from recbole_nif.quick_start import run_recbole_nif
from tests.toy import toy_config, write_toy

NAMES = (
    "data_path", "checkpoint_dir", "load_col", "threshold", "scene_field", "moveline_length",
    "moveline_stride", "train_batch_size", "eval_batch_size", "device", "show_progress", "tensorboard",
)  # fmt: skip
SMALL = {"epochs": 1, "pretrain_epochs": 1, "embedding_size": 4, "mlp_hidden_size": [8], "saved": False}


def log(users: int = 6, events: int = 30) -> list[tuple]:
    """Rows of several users, by user and time; every user has both labels in every split."""
    draw = random.Random(1)
    return [
        (f"u{user}", f"m{draw.randint(1, 10)}", 1 + 4 * (place % 2), 1_000_000_000 + 60 * place + user)
        for user in range(users)
        for place in range(events)
    ]


@pytest.fixture
def run(tmp_path):
    """Trains one epoch on the data in ``tmp_path`` and returns result.json and the train log."""

    def run(model: str = "NIFDIN", **settings) -> tuple[dict, str]:
        given = toy_config(tmp_path, model).resolved()
        config = {name: given[name] for name in NAMES} | SMALL | {"seed": 7, "hidden_size": 8} | settings
        config["run_dir"] = str(tmp_path / f"run{len(list(tmp_path.glob('run*')))}")
        saved = config.pop("saved")
        returned = run_recbole_nif(model, "toy", config_dict=config, saved=saved)
        folder = tmp_path / config["run_dir"]
        assert returned["test_result"]["logloss"] > 0
        return json.loads((folder / "result.json").read_text()), (folder / "train.log").read_text()

    return run


def write(tmp_path, rows):
    """Replaces the toy data and returns the .inter file."""
    return write_toy(tmp_path, rows) / "toy" / "toy.inter"


def figures(record: dict) -> dict:
    """What must not change: metrics and counts.

    Metrics to 14 digits: the last one of a logarithm depends on where its argument lies in memory.
    """
    metrics = {
        (split, name): float(f"{value:.14g}") if isinstance(value, float) else value
        for split in ("valid", "test")
        for name, value in record[split].items()
    }
    return metrics | {key: record[key] for key in ("rows", "split")}


# --- another way to write the same file


def test_the_order_of_rows_in_the_file_changes_no_figure(tmp_path, run):
    rows, met = log(), set()
    first = [row for row in rows if not met.issuperset(row[:2]) and not met.update(row[:2])]
    others = [row for row in rows if row not in first]
    records = []
    for order in (others, random.Random(3).sample(others, len(others))):
        write(tmp_path, first + order)  # ids are given in the order of the file, and initial weights by id
        record, _ = run("AMEN")
        del record["split"]["rows_moved_by_float32"]  # RecBole's clock breaks ties by the order of the file
        records.append(figures(record))
    assert records[0] == records[1]


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"),
        lambda content: content.rstrip(b"\n"),
        lambda content: content.replace(b"\n", b"\n\n"),
    ],
    ids=["CRLF", "byte-order mark", "both", "no newline at the end", "blank lines"],
)
def test_line_ends_and_a_byte_order_mark_change_no_figure(tmp_path, run, rewrite):
    write(tmp_path, log())
    plain, _ = run()
    for path in (tmp_path / "toy").iterdir():
        path.write_bytes(rewrite(path.read_bytes()))
    assert figures(run()[0]) == figures(plain)


def test_another_separator_and_encoding_change_no_figure(tmp_path, run):
    write(tmp_path, log())
    plain, _ = run()
    for path in (tmp_path / "toy").iterdir():
        path.write_text(path.read_text().replace("\t", "::"), encoding="utf-16")
    assert figures(run(field_separator="::", encoding="utf-16")[0]) == figures(plain)


# --- rows


def test_duplicate_events_are_kept_and_counted(tmp_path, run):
    rows = log()
    write(tmp_path, rows)
    plain, quiet = run()
    write(tmp_path, rows + rows[:3] + rows[:1])
    record, said = run()
    assert plain["rows"]["duplicates"] == 0 and "rows repeat" not in quiet
    assert record["rows"]["duplicates"] == 4 and "4 rows repeat user, item and time" in said
    sizes = [sum(found["rows"][part] for part in ("train", "valid", "test")) for found in (record, plain)]
    assert sizes == [len(rows) + 4, len(rows)]


@pytest.mark.parametrize(("model", "drop"), [("NIFDIN", True), ("NIFDIN", False), ("AMEN", False)])
def test_items_missing_from_the_item_file_are_dropped_aloud_or_kept_without_features(
    tmp_path, run, model, drop
):
    rows = log()
    write(tmp_path, rows)
    items = tmp_path / "toy" / "toy.item"
    items.write_text("".join(line for line in items.open() if not line.startswith(("m3\t", "m7\t"))))
    record, said = run(model, filter_inter_by_user_or_item=drop)
    missing = sum(item in ("m3", "m7") for _, item, _, _ in rows)
    left = sum(record["rows"][part] for part in ("train", "valid", "test"))
    assert left == len(rows) - (missing if drop else 0)
    assert (f"{missing} rows are dropped" in said) == drop
    assert record["rows"]["items"] == (8 if drop else 10)


@pytest.mark.parametrize("model", ["NIFDIN", "AMEN", "recbole.DIEN"])
def test_users_without_history_or_with_one_label_only_are_trained_and_scored(tmp_path, run, model):
    alone = [("once", "m1", 5, 1_000_000_500)]
    same_label = [("always", f"m{n}", 5, 1_000_000_000 + 60 * n) for n in range(1, 11)]
    at_once = [("at_once", f"m{n}", 1 + 4 * (n % 2), 1_000_000_900) for n in range(1, 11)]  # no earlier event
    write(tmp_path, log() + alone + same_label + at_once)
    record, _ = run(model)
    assert record["rows"]["users"] == 9
    assert record["rows"]["train"] == 6 * 24 + 1 + 8 + 8
    assert record["test"]["gauc_users"] < 9  # users with one class are left out of GAUC


def test_amen_trains_where_no_row_has_a_pair(tmp_path, run):
    """Every user has one label only in the training split."""
    rows = [(user, item, 5 if int(user[1:]) % 2 else 1, time) for user, item, _, time in log()]
    write(tmp_path, rows)
    record, _ = run("AMEN", tsp_ratio=1.0)
    assert record["stages"][-1]["epochs_run"] == 1


# --- tokens

ODD_TOKENS = (
    "東京 駅前", "😀👩\u200d👩\u200d👧", "مرحبا بالعالم", "e\u0301", "é", "a" * 10_000, "-1", "1e5",
    "x'; --", "#1", "[PAD", "x,y;z|", "mid\"quote", "::", "\u00a0", "M3",
)  # fmt: skip


@pytest.mark.parametrize("model", ["NIFDIN", "AMEN"])
def test_any_text_may_name_a_user_or_an_item(tmp_path, run, model):
    inter = write(tmp_path, log())
    plain, _ = run(model)
    plain_names = [f"m{n}" for n in range(1, 11)] + [f"u{n}" for n in range(6)]
    odd = dict(zip(plain_names, ODD_TOKENS, strict=True))
    for path in inter.parent.iterdir():
        lines = [line.split("\t") for line in path.read_text().splitlines()]
        renamed = ["\t".join(odd.get(cell, cell) for cell in cells) for cells in lines]
        path.write_text("\n".join(renamed) + "\n", encoding="utf-8")
    assert figures(run(model)[0]) == figures(plain)


def test_missing_side_features_are_filled_as_in_recbole(tmp_path, run):
    write(tmp_path, log())
    for name, old, new in (("user", "u2\t22", "u2\t"), ("item", "m3\tDrama", "m3\t")):
        path = tmp_path / "toy" / f"toy.{name}"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    record, _ = run()
    assert (record["rows"]["users"], record["rows"]["items"]) == (6, 10)


# --- splits that come as files


def test_benchmark_files_are_the_splits(tmp_path, run):
    inter = write(tmp_path, log())
    header, *lines = inter.read_text().splitlines(keepends=True)
    parts = {"train": lines[:100], "valid": lines[100:130], "test": lines[130:]}
    for name, part in parts.items():
        (tmp_path / "toy" / f"toy.{name}.inter").write_text("".join([header, *part]))
    record, _ = run(benchmark_filename=list(parts))
    assert [record["rows"][name] for name in parts] == [100, 30, 50]
    assert record["split"]["benchmark_filename"] == list(parts)


def run_split(tmp_path, model: str, split: str) -> tuple[dict, dict]:
    """Trains on the toy data with a split that leaves a part empty: what is returned, and result.json."""
    rows = [row for place, row in enumerate(log()) if place != 29]  # or the last rows of all were clicks
    write_toy(tmp_path, rows)
    given = toy_config(tmp_path, model).resolved()
    config = {name: given[name] for name in NAMES} | SMALL | {"hidden_size": 8}
    del config["saved"]
    config |= {"run_dir": str(tmp_path / "run"), "eval_args": {"split": {"LS": split}}}
    returned = run_recbole_nif(model, "toy", config_dict=config)
    return returned, json.loads((tmp_path / "run" / "result.json").read_text())


@pytest.mark.parametrize("model", ["NIFDIN", "AMEN", "DeepFM"])
def test_a_run_without_test_rows_ends_with_its_validation(tmp_path, model):
    returned, record = run_split(tmp_path, model, "valid_only")
    assert record["rows"]["test"] == 0 and not record["test"] and not returned["test_result"]
    assert 0 <= record["valid"]["auc"] <= 1


@pytest.mark.parametrize("model", ["NIFDIN", "AMEN", "DeepFM"])
def test_a_run_without_validation_rows_is_tested(tmp_path, model):
    _, record = run_split(tmp_path, model, "test_only")
    assert record["rows"]["valid"] == 0 and not record["valid"] and record["test"]["logloss"] > 0
