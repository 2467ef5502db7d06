"""Figures of a report: which there are, their numbers by hand, and that they can be drawn."""

import csv

import pytest
import yaml

from recbole_nif.evaluation.metrics import auc
from recbole_nif.publish.ablation import ablation_bars
from recbole_nif.publish.blocks import Picture
from recbole_nif.publish.curves import learning_curves
from recbole_nif.publish.differences import compare, default_pairs
from recbole_nif.publish.inputs import read_inputs
from recbole_nif.publish.plots import write_plots
from recbole_nif.publish.runs import Run, tables_of
from recbole_nif.publish.sensitivity import sensitivity_curves
from tests.unit.run_doubles import make_record, make_scores, write_run


def stage(scores, name="finetune", metric="auc", **others):
    """A stage with these validation scores; None = an epoch that was not validated."""
    known = [score for score in scores if score is not None]
    return {
        "name": name,
        "valid_metric": metric,
        "rows_per_second": 1.0,
        "epochs_run": len(scores),
        "best_epoch": scores.index(max(known)),
        "best_score": max(known),
        "valid": {metric: max(known)},
        "facts": {},
        "curve": [
            {
                "epoch": epoch,
                "loss": {"bce": 0.5, "aux": 0.25},
                "valid": score and {metric: score, "other": 1.0},
            }
            for epoch, score in enumerate(scores)
        ],
    } | others


def table(*runs):
    (only,) = tables_of(runs)
    return only


def drawn(plots, folder):
    """The lines of the CSV files of plots, which are drawn too."""
    write_plots([Picture(plot) for plot in plots], folder)
    for plot in plots:
        assert (folder / f"{plot.name}.svg").read_text().startswith("<?xml")
    return [list(csv.reader((folder / f"{plot.name}.csv").read_text().splitlines()))[1:] for plot in plots]


# --- learning curves


def test_a_learning_curve_has_every_epoch_of_every_seed_from_1(tmp_path):
    runs = [
        Run.of(make_record(seed=1, stages=[stage([0.5, 0.7, None])])),
        Run.of(make_record(seed=2, stages=[stage([0.6])])),
    ]
    (plot,) = learning_curves(table(*runs), "1-toy")
    assert plot.title == "Learning curves of stage finetune: AUC on the validation rows"
    (lines,) = drawn([plot], tmp_path)
    assert lines == [
        ["AMEN", "1", "1", "auc", "0.5", "0.75", "False"],
        ["AMEN", "1", "2", "auc", "0.7", "0.75", "True"],
        ["AMEN", "1", "3", "auc", "", "0.75", "False"],
        ["AMEN", "2", "1", "auc", "0.6", "0.75", "True"],
    ]


def test_every_stage_and_metric_has_a_figure_of_its_own_and_early_records_reveal_theirs(tmp_path):
    early = stage([0.6, 0.7])
    del early["valid_metric"]
    runs = [
        Run.of(make_record(stages=[stage([0.1, 0.2], "pretrain", "recall@50"), early])),
        Run.of(make_record("LR", stages=[stage([0.6, 0.5], metric="logloss")])),
        Run.of(make_record("DIN", stages=[stage([0.6], name="teacher")])),  # a point is no curve
        Run.of(
            make_record(
                "FM",
                stages=[
                    {
                        "name": "finetune",
                        "facts": {},
                        "rows_per_second": None,
                        "epochs_run": 0,
                        "best_epoch": -1,
                        "curve": [],
                    }
                ],
            )
        ),  # fmt: skip
    ]
    plots = learning_curves(table(*runs), "1-toy")
    assert [plot.name for plot in plots] == [
        "1-toy-learning-pretrain-recall-50",
        "1-toy-learning-finetune-auc",
        "1-toy-learning-finetune-logloss",
    ]
    assert [len(lines) for lines in drawn(plots, tmp_path)] == [2, 2, 2]


# --- ablations


def test_ablation_bars_hold_the_differences_of_variants_to_their_base_only(tmp_path):
    fair, good = make_scores(0.5, 1), make_scores(2.0, 2)
    folders = [
        write_run(tmp_path / "base", make_record(settings={}), fair),
        write_run(tmp_path / "good", make_record(settings={"use_sam": False}), good),
        write_run(tmp_path / "lost", make_record(settings={"use_nif": False})),
        write_run(tmp_path / "rival", make_record("NIFDIN", settings={"history": "all_with_label"}), good),
    ]
    found = table(*read_inputs(folders)[0])
    (plot,) = ablation_bars(compare(default_pairs(found)), "1-toy")
    (lines,) = drawn([plot], tmp_path / "figures")
    lost, good_line = lines
    expected = auc(good.label, good.score) - auc(fair.label, fair.score)
    assert good_line[:3] == ["AMEN use_sam=False", "AMEN", "2020"]
    assert float(good_line[3]) == pytest.approx(expected) and float(good_line[-1]) == pytest.approx(expected)
    assert float(good_line[4]) < expected < float(good_line[5])
    assert lost == ["AMEN use_nif=False", "AMEN", *[""] * 11]


# --- sensitivity


def write_rows(folder, *given):
    """Runs of (settings, auc), of which the folder of each tells the whole configuration."""
    for place, (settings, score) in enumerate(given):
        run = write_run(folder / str(place), make_record(auc=score, settings=settings))
        (run / "config.yaml").write_text(yaml.safe_dump({"flow_len": 4, "use_sam": True} | settings))
    return table(*read_inputs([folder])[0])


def test_a_sensitivity_curve_has_the_default_among_its_values_in_order(tmp_path):
    given = [({"flow_len": 8}, 0.7), ({}, 0.9), ({"flow_len": 1}, 0.8), ({"use_sam": False}, 0.6)]
    found = write_rows(tmp_path / "runs", *given)
    (plot,) = sensitivity_curves(found, "1-toy")
    (lines,) = drawn([plot], tmp_path / "figures")
    assert [line[:5] for line in lines] == [
        ["AMEN", "flow_len", "1", "2020", "0.8"],
        ["AMEN", "flow_len", "4", "2020", "0.9"],
        ["AMEN", "flow_len", "8", "2020", "0.7"],
    ]


@pytest.mark.parametrize(
    "given",
    [
        [({}, 0.9), ({"flow_len": 8}, 0.7)],  # two values are no curve
        [({}, 0.9), ({"use_sam": False}, 0.7), ({"use_sam": None}, 0.7)],  # no numbers
        [({}, 0.9), ({"flow_len": 8}, 0.7), ({"flow_len": 1, "use_sam": False}, 0.8)],  # differs twice
    ],
)
def test_fewer_than_three_values_that_differ_in_one_number_are_no_curve(tmp_path, given):
    assert sensitivity_curves(write_rows(tmp_path, *given), "1-toy") == []


def test_rows_with_the_same_other_settings_make_a_curve_of_their_own(tmp_path):
    plain = [({"flow_len": value}, 0.8) for value in (1, 2, 8)]
    bare = [({"flow_len": value, "use_sam": False}, 0.7) for value in (1, 2, 8)]
    (plot,) = sensitivity_curves(write_rows(tmp_path, *plain, *bare), "1-toy")
    assert {row[1] for row in plot.rows} == {"flow_len", "flow_len use_sam=False"} and len(plot.rows) == 6


def test_undefined_scores_are_left_out_of_curves(tmp_path):
    given = [({"flow_len": value}, score) for value, score in ((1, 0.8), (2, None), (8, 0.7))]
    assert sensitivity_curves(write_rows(tmp_path, *given), "1-toy") == []
