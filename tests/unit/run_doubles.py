"""Hand-made records and folders of finished runs."""

import json
from pathlib import Path

import numpy as np

from recbole_nif.evaluation.scored_rows import SCORES_FILE, ScoredRows
from recbole_nif.publish.document import Report
from recbole_nif.publish.inputs import read_inputs
from recbole_nif.publish.links import Links
from recbole_nif.publish.markdown import as_markdown


def make_record(model="AMEN", auc=0.8, seed=2020, **others):
    """A result.json; ``others`` extend its test, split, history and rows, and replace the rest."""
    nested = {
        "split": {"preset": "user_time", "ties": "cut"},
        "history": {"kind": "clicks", "ties": "strict", "until": "online", "length": 50},
        "rows": {"train": 8000, "valid": 1000, "test": 100, "users": 60, "items": 70},
        "test": {"auc": auc, "gauc": None, "logloss": 0.4321, "gauc_weight": "impressions"},
    }
    for key in nested:
        change = others.pop(key, {})
        nested[key] = None if change is None else nested[key] | change
    return {
        "schema": 1,
        "model": model,
        "dataset": "ml-100k",
        "seed": seed,
        "settings": {"seed": seed},
        **nested,
        "stages": [
            {"rows_per_second": 5000.0, "epochs_run": 20, "best_epoch": 19, "facts": {}},
            {"rows_per_second": 12345.6, "epochs_run": 7, "best_epoch": 3, "facts": {}},
        ],
        "parameters": 1234,
        "baselines": {"item_rate": {"auc": 0.7, "gauc": 0.65, "logloss": 0.5}},
        "durations": {"data": 400.0, "finetune": 5000.0, "total": 1.0},
        "device": {"name": "A CPU"},
        "threads": 2,
        "versions": {"recbole_nif": "0.1.0", "torch": "2.13.0"},
        "git_commit": "0123456789abcdef-dirty",
        "date": "2026-11-22T02:07:09+00:00",
    } | others


def make_scores(quality=1.0, seed=0, users=30, of_user=20) -> ScoredRows:
    """Rows that depend on nothing, and scores that tell the labels the better the higher ``quality`` is."""
    rng = np.random.default_rng(7)
    label = rng.integers(0, 2, users * of_user)
    noise = np.random.default_rng(seed).normal(size=len(label))
    score = 1 / (1 + np.exp(-(quality * label + noise)))
    return ScoredRows(np.arange(len(label)), np.repeat(np.arange(1, users + 1), of_user), label, score)


def write_run(folder: Path, record: dict, scores: ScoredRows | None = None) -> Path:
    """A run's folder with its result.json and, if there are any, its test scores."""
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(record))
    if scores is not None:
        scores.save(folder / SCORES_FILE)
    return folder


def report_text(*paths, **options) -> str:
    """The tables that ``recbole-nif report`` prints of these paths."""
    return as_markdown(Report.of(*read_inputs(paths), **options).blocks(), Links())


def cells(line: str) -> list[str]:
    """The cells of a line of a markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def table_lines(text: str) -> list[list[str]]:
    """The cells of all tables' lines, without heads."""
    lines = [cells(line) for line in text.splitlines() if line.startswith("|")]
    rules = [place for place, line in enumerate(lines) if set(line) == {"---"}]
    return [line for place, line in enumerate(lines) if place not in rules and place + 1 not in rules]
