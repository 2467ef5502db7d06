"""Tables of runs: what a row is, mean and deviation over seeds, what is missing, what is kept beside them."""

import json

import pytest
import yaml

from recbole_nif.publish.runs import Run, read_runs, tables_of
from recbole_nif.publish.tables import result_table
from tests.unit.run_doubles import make_record, report_text, table_lines, write_run


def lines_of(*records):
    return table_lines(result_table(records))


# --- what a row is


def test_a_row_is_named_by_its_model_and_by_what_is_not_default_nor_said_elsewhere():
    settings = {
        "use_sam": False, "mlp_hidden_size": [64, 32], "seed": 7, "device": "cpu", "history_ties": "order",
        "eval_args.order": "RO", "split_preset": "random",
    }  # fmt: skip
    assert Run.of(make_record(settings=settings)).label == "AMEN mlp_hidden_size=[64,32] use_sam=False"
    assert Run.of(make_record()).label == "AMEN"


def test_what_all_rows_share_is_said_once_above_the_table():
    epochs = {"epochs": 2}
    records = [
        make_record("LR", 0.7, settings=epochs),
        make_record("AMEN", 0.8, settings=epochs),
        make_record("AMEN", 0.9, settings=epochs | {"use_sam": False, "n_heads": 2}),
    ]
    assert [line[0] for line in lines_of(*records)[1:]] == ["LR", "AMEN", "AMEN n_heads=2 use_sam=False"]
    assert "70 items. In all rows: epochs=2.\n" in result_table(records)
    other = make_record("LR", 0.7, seed=1, settings={"epochs": 3})
    labels = [line[0] for line in lines_of(*records, other)[1:]]
    assert labels == ["LR epochs=2", "LR epochs=3", "AMEN epochs=2", "AMEN epochs=2 n_heads=2 use_sam=False"]


def test_runs_of_a_row_whose_configurations_differ_are_named(tmp_path):
    """Tuned values became the defaults between the two runs: no name tells them."""
    for seed, rate in ((1, 0.001), (2, 0.003), (3, 0.003)):
        folder = write_run(tmp_path / str(seed), make_record("LR", 0.7, seed=seed, settings={}))
        values = {"model": "LR", "learning_rate": rate, "run_dir": str(folder), "seed": seed}
        (folder / "config.yaml").write_text(yaml.safe_dump(values))
    (table,) = tables_of(read_runs([tmp_path / seed for seed in "123"]))
    (note,) = table.notes
    assert note.startswith("Runs of LR differ in learning_rate, which its name does not tell")
    (table,) = tables_of(read_runs([tmp_path / seed for seed in "23"]))
    assert table.notes == []


def test_semantic_ids_of_one_file_name_and_different_content_are_told():
    def run(seed, perplexity):
        level = {"perplexity": perplexity, "random_purity": seed}  # the latter is drawn anew by each run
        ids = {"source": "a.sem_ids.json", "health": {"distinct": 70, "levels": [level]}}
        settings = {"semantic_ids": "a.sem_ids.json"}
        return make_record("GenCI", seed=seed, settings=settings, semantic_ids=ids)

    def notes(*records):
        (table,) = tables_of([Run.of(record) for record in records])
        return table.notes

    assert notes(run(1, 30.5), run(2, 30.5)) == []
    (note,) = notes(run(1, 30.5), run(2, 31.0))
    assert note.endswith("read semantic IDs of one file name and different content.")


def test_gaucs_of_different_weights_stand_in_different_tables():
    records = [
        make_record("LR", test={"gauc_weight": weight}, settings={"gauc_weight": weight})
        for weight in ("impressions", "clicks")
    ]
    text = result_table(records)
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert [heading.endswith("histories strict, online") for heading in headings] == [True, False]
    assert headings[1].endswith(", GAUC weighted by clicks") and "LR gauc_weight" not in text


@pytest.mark.parametrize(
    ("rate", "told"),
    [
        (0.003, "a later run of its seed differs in learning_rate, "),
        (1.0, "a later run has the same settings"),
    ],
)
def test_a_run_that_is_left_out_is_compared_with_the_one_that_counts(tmp_path, rate, told):
    for day, value in ((1, 1), (2, rate)):
        folder = write_run(tmp_path / str(day), make_record("LR", settings={}, date=f"2026-11-0{day}"))
        (folder / "config.yaml").write_text(yaml.safe_dump({"learning_rate": value}))
    (table,) = tables_of(read_runs([tmp_path / "1", tmp_path / "2"]))
    (note,) = table.notes
    assert note.startswith(f"1 is left out: {told}")


def test_a_row_alone_keeps_its_whole_name():
    assert lines_of(make_record("LR", settings={"epochs": 2}))[-1][0] == "LR epochs=2"


def test_seeds_of_the_same_settings_are_one_row_with_mean_and_sample_deviation():
    stage = {"rows_per_second": 10000.0, "epochs_run": 9, "best_epoch": 5, "facts": {}}
    baseline, row = lines_of(
        make_record("LR", 0.80, seed=2021),
        make_record(
            "LR", 0.82, seed=2020, stages=[stage], durations={"data": 300.0, "finetune": 1500.0, "total": 1.0}
        ),
    )
    assert baseline == ["item rate", "", "", "0.7000", "0.6500", "0.5000", *[""] * 6]
    assert row == [
        "LR", "clicks", "2: 2020, 2021",
        "0.8100 ± 0.0141", "undefined", "0.4321 ± 0.0000",  # sqrt(2) / 100
        "+0.00 %", "1,234", "7–9, best 4–6", "11,173", "—", "1",
    ]  # fmt: skip


def test_the_best_and_the_second_mean_of_every_metric_stand_out():
    lines = lines_of(
        make_record("LR", 0.70, test={"auc": 0.70, "gauc": 0.5, "logloss": 0.30}),
        make_record("FM", 0.90, test={"auc": 0.90, "gauc": 0.6, "logloss": 0.50}),
        make_record("NFM", 0.80, test={"auc": 0.80, "gauc": None, "logloss": 0.40}),
        make_record("PNN", 0.80, test={"auc": 0.80, "gauc": None, "logloss": 0.60}),
    )
    assert [line[3:6] for line in lines[1:]] == [
        ["0.7000", "0.5000", "**0.3000**"],
        ["**0.9000**", "**0.6000**", "0.5000"],  # of two that are defined no second is marked
        ["*0.8000*", "undefined", "*0.4000*"],
        ["*0.8000*", "undefined", "0.6000"],
    ]


def test_latency_is_the_time_of_1000_rows_and_a_mean_over_seeds_of_one_device():
    scoring = [{"rows": 2000, "seconds": seconds, "batch_size": 64} for seconds in (0.01, 0.03)]
    records = [make_record(seed=seed, scoring=scoring[seed], schema=2) for seed in (0, 1)]
    assert lines_of(*records)[-1][10] == "10"  # (5 + 15) / 2
    assert lines_of(records[0], make_record(seed=1))[-1][10] == "—"
    assert lines_of(records[0], records[1] | {"threads": 1})[-1][10] == "several devices"


def test_one_seed_claims_no_sign():
    assert lines_of(make_record())[-1][2] == "one seed (2020): no sign claimed"


def test_speeds_of_several_devices_have_no_mean():
    records = [make_record(seed=1), make_record(seed=2, threads=1)]
    assert lines_of(*records)[-1][9] == "several devices"


def test_relaimpr_compares_means_with_the_plainest_lr():
    lines = lines_of(
        make_record("LR", 0.9, settings={"embedding_size": 4}),
        make_record("LR", 0.74, seed=1),
        make_record("LR", 0.76, seed=2),
        make_record("AMEN", 0.8),
    )
    assert [(line[0], line[6]) for line in lines[1:]] == [
        ("LR", "+0.00 %"), ("LR embedding_size=4", "+60.00 %"), ("AMEN", "+20.00 %"),
    ]  # fmt: skip


def test_an_undefined_auc_has_no_relaimpr():
    lines = lines_of(make_record("LR", 0.75), make_record("AMEN", None))
    assert lines[-1][3:7] == ["undefined", "undefined", "0.4321", ""]


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": "ml-1m"},
        {"split": {"preset": "random"}},
        {"split": {"ties": "whole"}},
        {"history": {"ties": "order"}},
        {"history": {"until": "train"}},
        {"rows": {"test": 99}},
        {"settings": {"threshold.rating": 3}},
    ],
)
def test_runs_on_other_conditions_are_in_a_table_of_their_own(other):
    text = result_table([make_record("LR", 0.75), make_record("LR", 0.7, seed=1, **other)])
    assert text.count("## ") == 2
    assert [line[0] for line in table_lines(text)] == ["item rate", "LR", "item rate", "LR"]


def test_the_heading_says_what_the_figures_hold_for():
    assert result_table([make_record()]).splitlines()[:3] == [
        "## ml-100k: user_time, ties cut, histories strict, online",
        "",
        "Rows: 8,000 training, 1,000 validation, 100 test, 60 users, 70 items.",
    ]


def test_how_the_data_were_read_is_in_the_heading_and_not_in_the_names_of_rows():
    text = result_table([make_record(settings={"threshold.rating": 3, "load_col.item": ["item_id", "year"]})])
    assert text.splitlines()[2].endswith(
        " 70 items. Data: load_col.item=['item_id','year'], threshold.rating=3."
    )
    assert table_lines(text)[-1][0] == "AMEN"


def test_every_baseline_that_a_run_holds_comes_first():
    more = {"item_rate": None, "item_user_recent_rate": {"auc": 0.75, "gauc": None, "logloss": 0.4}}
    lines = lines_of(make_record("LR"), make_record("AMEN", baselines=more))
    assert [line[0] for line in lines] == ["item rate", "item user recent rate", "LR", "AMEN"]
    assert lines[1][3:6] == ["0.7500", "undefined", "0.4000"]


def test_a_baseline_that_differs_by_seed_is_averaged():
    other = {"item_rate": {"auc": 0.72, "gauc": 0.65, "logloss": 0.5}}
    assert lines_of(make_record(seed=1), make_record(seed=2, baselines=other))[0][3:5] == [
        "0.7100 ± 0.0141",
        "0.6500",
    ]


def test_the_later_of_two_runs_with_the_same_seed_counts_and_the_other_is_named(tmp_path):
    write_run(tmp_path / "new", make_record(auc=0.8, date="2026-11-23"))
    write_run(tmp_path / "old", make_record(auc=0.9, date="2026-11-22"))
    text = report_text(tmp_path / "new", tmp_path / "old")
    assert table_lines(text)[-1][3] == "0.8000"
    assert "- old is left out: a later run has the same settings and seed." in text


def test_a_run_counts_before_the_copy_of_its_record(tmp_path):
    run = write_run(tmp_path / "run", make_record())
    (tmp_path / "copy.json").write_text((run / "result.json").read_text())
    for order in ([run, tmp_path / "copy.json"], [tmp_path / "copy.json", run]):
        (table,) = tables_of(read_runs(order))
        assert [kept.name for kept in table.rows[0].runs] == ["run"]


def test_seeds_of_different_commits_are_averaged_and_told():
    text = result_table([make_record(seed=1), make_record(seed=2, git_commit="fedcba")])
    assert "- Runs of a row are of different commits, whose defaults may differ: AMEN." in text
    assert "commits" not in result_table(
        [make_record(seed=1), make_record("LR", seed=2, git_commit="fedcba")]
    )


def test_a_run_of_stage_1_alone_is_named_and_has_no_row():
    text = result_table([make_record(test=None)])
    assert [line[0] for line in table_lines(text)] == ["item rate"]
    assert "- AMEN, seed 2020 was not tested (stage 1 only)." in text


# --- records of older versions


def test_settings_that_a_record_lacks_are_read_from_the_config_beside_it(tmp_path):
    record = make_record(history={"kind": "all_with_label"})
    del record["settings"]
    run = write_run(tmp_path / "run", record)
    (run / "config.yaml").write_text(yaml.safe_dump({"use_sam": False, "moveline_length": 50, "epochs": 50}))
    assert read_runs([run])[0].label == "AMEN use_sam=False"


def test_without_it_only_history_is_known_and_the_table_says_so(tmp_path):
    record = make_record("NIFDIN", history={"kind": "all_with_label"})
    del record["settings"]
    (tmp_path / "old.json").write_text(json.dumps(record))
    text = report_text(tmp_path / "old.json")
    assert table_lines(text)[-1][0] == "NIFDIN history=all_with_label"
    assert "- Of settings only split and history are known: old.json." in text
