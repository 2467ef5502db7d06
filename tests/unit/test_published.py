"""Published figures: what the file holds, and which of our rows stand beside them."""

import pytest

from recbole_nif.publish.published import sources
from tests.unit.run_doubles import make_record, report_text, table_lines, write_run


def section(text, name):
    return text.partition(f"Published beside ours: GenCI, {name}")[2].partition("\n## ")[0]


@pytest.fixture
def text(tmp_path):
    """A report on ml-1m with a few of the models of GenCI's tables."""
    runs = [
        make_record("NIFDIN", 0.8900, 1, dataset="ml-1m", settings={}),
        make_record("NIFDIN", 0.8920, 2, dataset="ml-1m", settings={}),
        make_record("NIFDIN", 0.9, dataset="ml-1m", settings={"history": "all_with_label"}),
        make_record("GenCI", None, dataset="ml-1m", settings={"epochs": 2}),
        make_record("GenCI", 0.8900, dataset="ml-1m", settings={"epochs": 2, "use_sr": False}),
        make_record("LR", 0.85, dataset="ml-1m", split={"preset": "global_time", "ties": "whole"}),
    ]
    return report_text(*(write_run(tmp_path / str(n), record) for n, record in enumerate(runs)))


def test_every_figure_is_a_metric_between_0_and_1_with_its_source():
    tables = sources()
    assert len(tables) == 2 and all(table["paper"].startswith("https://arxiv.org/") for table in tables)
    figures = [figure for table in tables for figure in table["figures"].values()]
    assert all(0.3 < figure[key] < 1 for figure in figures for key in ("auc", "logloss") if key in figure)
    assert len(tables[0]["figures"]) == 16 and tables[0]["figures"]["GenCI"]["auc"] == 0.8964


def test_settings_that_all_rows_share_stay_in_the_name_and_are_compared(tmp_path):
    fast = {"epochs": 2, "use_sr": False}
    runs = [
        make_record("GenCI", 0.89, dataset="ml-1m", settings=fast),
        make_record("NIFDIN", 0.88, dataset="ml-1m", settings=fast | {"embedding_size": 8}),
    ]
    text = report_text(*(write_run(tmp_path / str(n), record) for n, record in enumerate(runs)))
    assert "In all rows: epochs=2, use_sr=False." in text
    lines = [line[::3][:2] for line in table_lines(section(text, "Table 4"))]
    assert lines == [["GenCI without SR", "GenCI epochs=2 use_sr=False"]]  # and not beside the full model


def test_a_row_that_reads_another_past_stands_beside_no_figure(tmp_path):
    labeled = {"history": "all_with_label"}
    runs = [make_record(model, 0.9, dataset="ml-1m", settings=labeled) for model in ("NIFDIN", "GenCI")]
    runs.append(make_record("LR", 0.85, dataset="ml-1m"))
    text = report_text(*(write_run(tmp_path / str(n), record) for n, record in enumerate(runs)))
    assert [line[0] for line in table_lines(section(text, "Table 3"))] == ["LR"]


def test_a_published_figure_stands_beside_the_default_row_of_its_model_with_our_conditions(text):
    lines = table_lines(section(text, "Table 3"))
    assert lines == [
        ["LR", "0.8577", "0.3904", "LR", "0.8500", "0.4321", "-0.0077",
         "global_time", "whole", "clicks, 50, strict, online", "100"],
        ["DIN", "0.8931", "0.3445", "NIFDIN", "0.8910 ± 0.0014", "0.4321 ± 0.0000", "-0.0021",
         "user_time", "cut", "clicks, 50, strict, online", "100"],
        ["GenCI", "0.8964", "0.3507", "GenCI epochs=2", "undefined", "0.4321", "—",
         "user_time", "cut", "clicks, 50, strict, online", "100"],
    ]  # fmt: skip


def test_an_ablation_stands_beside_the_variant_of_the_default_row(text):
    names = [line[::3][:2] for line in table_lines(section(text, "Table 4"))]
    assert names == [["GenCI, full", "GenCI epochs=2"], ["GenCI without SR", "GenCI epochs=2 use_sr=False"]]


def test_it_is_said_that_the_rows_differ_and_what_has_no_run(text):
    assert "The rows that a published figure was measured on are not ours" in section(text, "Table 3")
    assert "without a run here: FwFM, NFM, PNN, FiGNN, DeepFM, " in section(text, "Table 3")
    assert "split time-ordered, 8:1:1" in section(text, "Table 3")


def test_other_data_have_no_published_figures(tmp_path):
    assert "Published" not in report_text(write_run(tmp_path / "run", make_record("LR")))
