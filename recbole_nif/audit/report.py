"""What the audit prints, as aligned markdown tables, and what it writes, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from recbole_nif.audit.data import Fact
from recbole_nif.audit.leaks import TOLERANCE, AUCTest, LeakReport, ScoreTest
from recbole_nif.evaluation.scoring import RECENT, Evaluation
from recbole_nif.publish.text import number
from recbole_nif.results import METRICS

BASELINES = {
    "item_rate": "item rate",
    "item_user_recent": f"item + user + recent rate (last {RECENT}), logistic regression",
}


def dataset_table(views: Sequence, facts: Sequence[Fact], baselines: Mapping[str, Evaluation]) -> str:
    """One line per fact."""
    rows = ", ".join(f"{len(view):,}" for view in views)
    size = f"{views[0].user_num - 1:,} users, {views[0].item_num - 1:,} items"
    lines = [("fact", "value"), ("size", size), ("training, validation and test rows", rows)]
    lines += [(fact.text, str(fact.value)) for fact in facts]
    for key, evaluation in baselines.items():
        auc, gauc, logloss = (number(evaluation.metrics()[name]) for name in METRICS)
        lines.append((f"baseline: {BASELINES[key]}", f"AUC {auc}, GAUC {gauc}, LogLoss {logloss}"))
    return aligned(lines)


def dataset_record(views: Sequence, facts: Sequence[Fact], baselines: Mapping[str, Evaluation]) -> dict:
    """The same for JSON."""
    return {
        "rows": dict(zip(("train", "valid", "test"), map(len, views), strict=True)),
        "users": views[0].user_num - 1,
        "items": views[0].item_num - 1,
        "facts": {fact.key: {"text": fact.text, **fact.value.record()} for fact in facts},
        "baselines": {key: evaluation.record() for key, evaluation in baselines.items()},
    }


def leak_table(report: LeakReport) -> str:
    """One line per test: scores first, then AUC."""
    lines = [("change", "audited rows", "events changed", "scores moved", "largest move", "verdict")]
    lines += [
        (
            test.name,
            f"{test.rows:,}",
            f"{test.events:,}",
            f"{test.moved:,}",
            f"{test.largest:.1e}",
            verdict(test),
        )
        for test in report.score_tests
    ]
    more = [
        ("histories changed by", "AUC before", "AUC after", "difference"),
        *map(_auc_line, report.auc_tests),
    ]
    return f"{aligned(lines)}\n\n{aligned(more)}"


def leak_record(report: LeakReport) -> dict:
    """The same for JSON."""
    return {
        "test_rows": report.rows,
        "auc": report.auc,
        "tolerance": TOLERANCE,
        "score_tests": [asdict(test) | {"verdict": verdict(test)} for test in report.score_tests],
        "auc_tests": [asdict(test) | {"difference": test.difference} for test in report.auc_tests],
        "leaks": [test.name for test in report.leaks],
    }


def verdict(test: ScoreTest) -> str:
    """What a test says, in a word or two."""
    if test.empty:
        return "not tested: nothing to change"
    if test.must_hold:
        return "LEAK" if test.moved else "passed"
    return "history is read" if test.moved else "no history is read"


def leak_sentence(test: ScoreTest) -> str:
    """For the last lines of a failed audit."""
    moved = f"{test.moved:,} of {test.rows:,} audited rows changed their score"
    return f"LEAK ({test.name}): {moved}, by up to {test.largest:.2g}."


def terms(config) -> str:
    """What was audited and on which terms, in a line."""
    facts = [
        f"split {config['split_preset']}",
        f"split_ties {config['split_ties']}",
        f"history_ties {config['history_ties']}",
        f"history_until {config['history_until']}",
    ]
    return f"{config['dataset']}: {', '.join(facts)}"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A markdown table, the first line its head, whose columns stand under each other in plain text too."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head, *body = (
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
    return "\n".join([head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *body])


def _auc_line(test: AUCTest) -> tuple[str, ...]:
    if test.skipped:
        return test.name, "", "", f"skipped: {test.skipped}"
    return test.name, number(test.before), number(test.after), f"{test.difference:+.4f}"
