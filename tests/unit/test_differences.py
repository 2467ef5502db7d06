"""Paired differences: which rows are compared, what a line says, and why figures may be missing."""

import numpy as np
import pytest

from recbole_nif.evaluation.metrics import auc
from recbole_nif.evaluation.scored_rows import ScoredRows
from recbole_nif.publish.blocks import Listing
from recbole_nif.publish.differences import compare, default_pairs, difference_grid, reasons
from recbole_nif.publish.document import Report
from recbole_nif.publish.links import Links
from recbole_nif.publish.markdown import as_markdown
from recbole_nif.publish.runs import Run, read_runs, tables_of
from tests.unit.run_doubles import make_record, make_scores, table_lines, write_run


def table(*records):
    (only,) = tables_of([Run.of(record) for record in records])
    return only


def difference_table(pairs):
    compared = compare(pairs)
    return as_markdown([difference_grid(compared), Listing(reasons(compared))], Links()).rstrip("\n")


def pairs_of(*records):
    return [(first.label, second.label) for first, second in default_pairs(table(*records))]


def test_variants_are_compared_with_the_default_and_amen_with_its_fair_rival():
    assert pairs_of(
        make_record("NIFDIN", settings={}),
        make_record("NIFDIN", settings={"history": "all_with_label"}),
        make_record("AMEN", settings={"use_sam": False}),
        make_record("AMEN", settings={}),
        make_record("LR", settings={}),
    ) == [
        ("NIFDIN history=all_with_label", "NIFDIN"),
        ("AMEN use_sam=False", "AMEN"),
        ("AMEN", "NIFDIN history=all_with_label"),
    ]


def test_settings_that_all_runs_were_given_do_not_hide_the_default():
    assert pairs_of(
        make_record("AMEN", settings={"epochs": 2}),
        make_record("AMEN", settings={"epochs": 2, "use_sam": False}),
        make_record("NIFDIN", settings={"epochs": 2, "history": "all_with_label"}),
        make_record("AMEN", settings={"epochs": 3, "use_sam": False}),  # differs in two ways
    ) == [
        ("AMEN epochs=2 use_sam=False", "AMEN epochs=2"),
        ("AMEN epochs=2", "NIFDIN epochs=2 history=all_with_label"),
    ]


@pytest.fixture
def runs(tmp_path):
    """Writes runs of (settings, seed, scores) and returns the table that they make."""

    def write(*given):
        folders = [
            write_run(tmp_path / str(place), make_record(seed=seed, settings=settings), scores)
            for place, (settings, seed, scores) in enumerate(given)
        ]
        (only,) = tables_of(read_runs(folders))
        return only

    return write


def test_a_line_holds_the_mean_difference_over_common_seeds(runs):
    good, fair = [make_scores(2.0, seed) for seed in (1, 2)], [make_scores(0.5, seed) for seed in (3, 4)]
    variant = {"use_nif": False}
    default = [({}, 1, fair[0]), ({}, 2, fair[1])]
    made = runs(*default, (variant, 1, good[0]), (variant, 2, good[1]), (variant, 3, good[1]))
    (line,) = table_lines(difference_table(default_pairs(made)))
    by_seed = [auc(a.label, a.score) - auc(b.label, b.score) for a, b in zip(good, fair, strict=True)]
    assert line[:2] == ["AMEN use_nif=False − AMEN", "1, 2"]
    assert line[2].startswith(f"{np.mean(by_seed):+.4f} [+")
    assert line[3:6] == ["yes", f"{by_seed[0]:+.4f} {by_seed[1]:+.4f}", "<.001 <.001"]
    assert line[7].startswith("-")  # the better LogLoss is the lower one


def test_one_seed_claims_no_sign_and_seeds_may_disagree(runs):
    good, fair = make_scores(1.0, 1), make_scores(0.8, 2)
    made = runs(
        ({}, 1, good), ({}, 2, fair), ({"a": 1}, 1, fair), ({"a": 1}, 2, good), ({"b": 1}, 1, good), 
    )  # fmt: skip
    two, one = table_lines(difference_table(default_pairs(made)))
    assert two[3] == "no; seeds disagree" and two[2].startswith("+0.0000")
    assert one[:4] == ["AMEN b=1 − AMEN", "1", "+0.0000 [+0.0000, +0.0000]", "no; one seed: no sign claimed"]
    assert one[5] == "1.000"


def test_missing_scores_other_rows_and_no_common_seed_leave_a_dash_and_the_reason(runs):
    scores = make_scores()
    other = ScoredRows(scores.row_id, scores.user, 1 - scores.label, scores.score)
    made = runs(({}, 1, scores), ({"a": 1}, 1, None), ({"b": 1}, 1, other), ({"c": 1}, 2, scores))
    text = difference_table(default_pairs(made))
    assert [line[1:] for line in table_lines(text)] == [["—"] * 7] * 3
    assert text.splitlines()[-3:] == [
        "- 1 has no test_scores.npz that can be read.",
        "- 2 and 0 were not tested on the same rows.",
        "- AMEN c=1 − AMEN: no seed in common.",
    ]


def test_a_seed_without_scores_is_left_out_and_named(runs):
    scores = make_scores()
    made = runs(({}, 1, scores), ({}, 2, None), ({"a": 1}, 1, make_scores(2.0)), ({"a": 1}, 2, scores))
    text = difference_table(default_pairs(made))
    assert table_lines(text)[0][1] == "1"
    assert text.endswith("\n\n- 1 has no test_scores.npz that can be read.")


def test_further_pairs_are_compared_on_demand_and_no_pair_twice(runs):
    made = runs(*(({"a": place} if place else {}, 1, make_scores(seed=place)) for place in range(3)))
    report = Report.of(made.runs, against="AMEN", pairs=[("AMEN a=1", "AMEN a=2")])
    text = as_markdown(report.blocks(), Links())
    assert [line[0] for line in table_lines(text)[-3:]] == [
        "AMEN a=1 − AMEN",
        "AMEN a=2 − AMEN",
        "AMEN a=1 − AMEN a=2",
    ]
    assert text.count("### Paired differences") == 1


def test_without_pairs_there_is_no_section():
    report = Report.of([Run.of(make_record())])
    assert "Paired differences" not in as_markdown(report.blocks(), Links())
