"""The report command: its file, rows it does not know, and the records that it collects."""

import json

import pytest

from recbole_nif.publish.collect import collect
from recbole_nif.publish.command import main
from recbole_nif.publish.runs import read_runs, tables_of
from tests.unit.run_doubles import make_record, write_run


def test_the_file_says_what_made_it_and_holds_no_path_of_the_machine(tmp_path, capsys):
    first = write_run(tmp_path / "a", make_record(seed=1))
    versions = {"recbole_nif": "0.2.0", "torch": "2.13.0"}
    second = write_run(tmp_path / "b", make_record(seed=2, versions=versions, settings={"use_sam": False}))
    out = tmp_path / "results" / "ml-100k.md"
    assert main([str(first), str(second), "--out", str(out)]) == 0
    text = out.read_text()
    assert text.startswith("# Results on ml-100k\n\nWritten by `recbole-nif report`, not by hand.")
    assert "- Runs: 2, finished on 2026-11-22.\n- Devices: A CPU (threads: 2).\n" in text
    assert "- Commits: 0123456789-dirty.\n- Versions: recbole_nif 0.1.0 and 0.2.0, torch 2.13.0.\n" in text
    assert str(tmp_path) not in text and text.endswith("[ml-100k.html](ml-100k.html).\n")
    assert capsys.readouterr().out == f"{out}\n{out.with_suffix('.html')}\n"
    assert {path.name for path in out.parent.iterdir()} == {"ml-100k.md", "ml-100k.html"}


def test_an_unknown_row_is_told_with_the_ones_there_are(tmp_path, capsys):
    run = write_run(tmp_path / "a", make_record())
    assert main([str(run), "--against", "AMNE"]) == 2
    assert "No row is called 'AMNE'; did you mean 'AMEN'? There are: AMEN." in capsys.readouterr().err


def test_an_unknown_row_is_told_before_anything_is_compared(monkeypatch, capsys, tmp_path):
    runs = [write_run(tmp_path / str(seed), make_record(seed=seed)) for seed in (1, 2)]
    monkeypatch.setattr("recbole_nif.publish.document.compare", lambda pairs: pytest.fail("compared"))
    assert main([*map(str, runs), "--compare", "AMEN", "AMNE"]) == 2
    assert "No row is called 'AMNE'" in capsys.readouterr().err


def test_rows_of_different_tables_are_not_compared(tmp_path, capsys):
    runs = [
        write_run(tmp_path / "a", make_record("AMEN")),
        write_run(tmp_path / "b", make_record("LR", rows={"test": 7})),
    ]
    assert main([*map(str, runs), "--compare", "AMEN", "LR"]) == 2
    assert "AMEN and LR were run on different conditions" in capsys.readouterr().err


def test_a_row_is_not_compared_with_itself(tmp_path, capsys):
    runs = [write_run(tmp_path / name, make_record(name)) for name in ("AMEN", "LR")]
    assert main([*map(str, runs), "--compare", "LR", "LR"]) == 2
    assert (
        "--compare takes two rows, 'LR' was given twice; name another: AMEN; LR." in capsys.readouterr().err
    )


def test_records_are_collected_under_names_that_tell_the_runs_apart(tmp_path):
    records = [
        make_record(seed=1, settings={"seed": 1, "device": "cpu"}),
        make_record(seed=1, settings={"pretrained_generator": "a b/c.pt", "use_sam": False}),
        make_record(seed=1, settings={"history_ties": "order"}, history={"ties": "order"}),
        make_record("my.module:Net", seed=3, split={"preset": "custom"}),
    ]
    runs = [write_run(tmp_path / str(place), record) for place, record in enumerate(records)]
    written = collect(tables_of(read_runs(runs)), tmp_path / "kept")
    assert sorted(path.name for path in written.values()) == sorted(
        path.name for path in (tmp_path / "kept").iterdir()
    )
    assert {path.name for path in written.values()} == {
        "AMEN-user_time-s1.json",
        "AMEN-pretrained_generator=ab_c.pt-use_sam=False-user_time-s1.json",
        "AMEN-history_ties=order-user_time-s1.json",
        "Net-custom-s3.json",
    }
    assert json.loads((tmp_path / "kept" / "AMEN-user_time-s1.json").read_text()) == records[0]


def test_a_long_variant_is_cut_and_still_tells_runs_apart(tmp_path):
    long = {f"a_rather_long_key_{n}": 0.123 for n in range(8)}
    runs = [
        write_run(tmp_path / str(last), make_record(seed=1, settings=long | {"a_rather_long_key_7": last}))
        for last in (1, 2)
    ]
    names = [path.name for path in collect(tables_of(read_runs(runs)), tmp_path / "kept").values()]
    assert len(set(names)) == 2 and {len(name) for name in names} == {
        len("AMEN-" + "-user_time-s1.json") + 80
    }
    assert all(name.startswith("AMEN-a_rather_long_key_0=0.123-a_rather_long_key_1=") for name in names)


def test_two_runs_of_one_name_are_not_written_over_each_other(tmp_path, capsys):
    runs = [
        write_run(tmp_path / str(place), make_record(rows={"test": place}, settings={})) for place in (1, 2)
    ]
    assert main([*map(str, runs), "--collect", str(tmp_path / "kept")]) == 2
    assert "would both be AMEN-user_time-s2020.json" in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()
