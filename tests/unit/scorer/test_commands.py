"""``recbole-nif score`` and ``recbole-nif topk``: files in, files out, killed and resumed, refused."""

import io
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas
import pytest
from filelock import FileLock

from recbole_nif import cli
from recbole_nif.inference import Scorer, score_command, topk_command
from tests.toy_runs import toy_run
from tests.unit.scorer.toy_requests import PAIRS


def score(run, *argv):
    return cli.main(["score", f"--run={run}", "--device=cpu", *argv])


def topk(run, *argv):
    return cli.main(["topk", f"--run={run}", "--device=cpu", *argv])


def scores_of(run, frame):
    return Scorer.load(run, device="cpu").score_pairs(frame)


# -- score


def test_every_pair_gets_its_score_beside_its_columns(run, folder, monkeypatch):
    monkeypatch.setattr(score_command, "ROWS", 4)
    assert score(run, "--input=pairs.csv", "--output=scores.csv", "--batch_size=3") == 0
    written = pandas.read_csv("scores.csv", dtype={"score": np.float32})
    assert written.columns.tolist() == ["user_id", "item_id", "timestamp", "note", "score"]
    assert np.abs(written.score - scores_of(run, PAIRS)).max() < 1e-6
    given = pandas.read_csv("pairs.csv", dtype=str)
    assert pandas.read_csv("scores.csv", dtype=str).drop(columns="score").equals(given)


def test_two_commands_do_not_write_one_file(run, folder, capsys):
    with FileLock(".scores.csv.lock"):
        assert score(run, "--input=pairs.csv", "--output=scores.csv") == 2
    assert "--output scores.csv is being written by another process" in capsys.readouterr().err
    assert not (folder / "scores.csv").exists()
    assert score(run, "--input=pairs.csv", "--output=scores.csv") == 0
    assert not (folder / ".scores.csv.lock").exists()


def test_what_is_complete_is_not_done_again_and_what_is_of_others_stays(run, folder, capsys):
    argv = ["--input=pairs.csv", "--output=scores.csv"]
    assert score(run, *argv) == 0
    before = (folder / "scores.csv").stat()
    assert score(run, *argv) == 0
    assert "complete already" in capsys.readouterr().out
    assert (folder / "scores.csv").stat().st_mtime_ns == before.st_mtime_ns
    with open("scores.csv", "a") as file:
        file.write("more")
    assert score(run, *argv) == 2
    assert "scores.csv was changed since" in capsys.readouterr().err
    PAIRS.iloc[:3].to_csv("pairs.csv", index=False)
    assert score(run, *argv) == 2
    assert "scores.csv is there already and not of this command" in capsys.readouterr().err
    (folder / ".scores.csv.job.json").unlink()
    assert score(run, *argv) == 2
    assert (folder / "scores.csv").stat().st_size == before.st_size + len("more")


def test_after_any_stop_the_same_command_completes_the_same_file(run, folder, monkeypatch):
    """Stopped in each part, behind the moment that it counts or before, with half a line there."""
    monkeypatch.setattr(score_command, "ROWS", 4)
    assert score(run, "--input=pairs.csv", "--output=whole.csv") == 0
    whole = (folder / "whole.csv").read_bytes()
    mark, calls = score_command.ResumableCSV._mark, []

    class Killed(BaseException):
        pass

    def killed(self, n_bytes):
        calls.append(1)
        if len(calls) % 2 == 0:
            if len(calls) % 4 == 0:
                mark(self, n_bytes)
            else:
                with open("part.csv", "a") as file:
                    file.write("a,m1,10000")
            raise Killed
        mark(self, n_bytes)

    monkeypatch.setattr(score_command.ResumableCSV, "_mark", killed)
    for _ in range(40):
        try:
            assert score(run, "--input=pairs.csv", "--output=part.csv") == 0
            break
        except Killed:
            continue
    assert (folder / "part.csv").read_bytes() == whole
    assert len(calls) > 6


def test_a_killed_process_is_resumed(run, folder):
    many = pandas.concat([PAIRS] * 500, ignore_index=True)
    many.to_csv("many.csv", index=False)
    code = (
        "from recbole_nif.inference import score_command; score_command.ROWS = 200\n"
        "from recbole_nif import cli; import sys; sys.exit(cli.main(sys.argv[1:]))"
    )
    argv = ["score", f"--run={run}", "--device=cpu", "--input=many.csv", "--output=out.csv"]
    command = [sys.executable, "-c", code, *argv]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(command, env=environment)
    written = folder / "out.csv"
    while process.poll() is None and not (written.is_file() and written.stat().st_size > 20_000):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    begun = (folder / "out.csv").stat()
    assert process.returncode == -signal.SIGKILL
    assert subprocess.run(command, env=environment).returncode == 0
    written = pandas.read_csv("out.csv")
    assert begun.st_size < (folder / "out.csv").stat().st_size
    assert written.drop(columns="score").equals(many)
    assert np.abs(written.score.to_numpy().reshape(500, -1) - scores_of(run, PAIRS)).max() < 1e-6


def test_standard_input_and_output(run, folder, monkeypatch, capsys):
    with open("pairs.csv", newline="") as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert score(run, "--input=-", "--output=-") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "user_id,item_id,timestamp,note,score" and len(lines) == 1 + len(PAIRS)


def given(monkeypatch, text: str) -> None:
    """``text`` as standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_a_byte_order_mark_of_standard_input_is_no_part_of_a_name(run, folder, monkeypatch, capsys):
    given(monkeypatch, '\ufeff"user_id",item_id\r\na,m1\r\n')
    assert score(run, "--input=-", "--output=-") == 0
    assert capsys.readouterr().out.splitlines()[0] == "user_id,item_id,score"


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["topk", "--users=-"], "user_id\nb\n"),
        (["topk", "--users=b", "--items=-"], "item_id,genre\nx,Drama\n"),
        (["score", "--input=pairs.csv", "--events=-"], "user_id,item_id,rating,timestamp\nb,m1,5,2e9\n"),
    ],
)
def test_what_was_made_of_standard_input_is_never_taken_for_what_comes_next(
    run, folder, monkeypatch, capsys, argv, text
):
    argv = [*argv, f"--run={run}", "--device=cpu", "--output=out.csv"]
    given(monkeypatch, text)
    assert cli.main(argv) == 0
    given(monkeypatch, text)
    assert cli.main(argv) == 2
    assert "out.csv is there already and not of this command" in capsys.readouterr().err


def test_a_pipe_is_read_once(run, folder):
    os.mkfifo("pipe")
    threading.Thread(target=PAIRS.to_csv, args=["pipe"], kwargs={"index": False}, daemon=True).start()
    assert score(run, "--input=pipe", "--output=out.csv") == 0
    assert len(pandas.read_csv("out.csv")) == len(PAIRS)


def test_later_items_and_events_may_come_along(run, folder):
    (folder / "items.csv").write_text("item_id,genre\nx,Comedy Drama\n")
    (folder / "events.csv").write_text(
        "user_id,item_id,rating,timestamp\nb,x,5,1000000999\nnew,m1,5,7\nb,m3,5,1000001000\n"
    )
    (folder / "few.csv").write_text("user_id,item_id\nb,x\nnew,m2\n")
    argv = ["--input=few.csv", "--output=-", "--items=items.csv", "--events=events.csv"]
    scorer = Scorer.load(run, device="cpu")
    scorer.add_items([{"item_id": "x", "genre": ["Comedy", "Drama"]}])
    for user, item, at in (("b", "x", 1000000999), ("new", "m1", 7), ("b", "m3", 1000001000)):
        scorer.update(user, [{"item_id": item, "rating": 5, "timestamp": at}])
    expected = [scorer.score("b", ["x"])[0], scorer.score("new", ["m2"])[0]]
    argv[1] = "--output=out.csv"
    assert score(run, *argv) == 0
    assert pandas.read_csv("out.csv").score.tolist() == pytest.approx(expected)


# -- topk


def test_users_get_their_ranked_items(run, folder, monkeypatch):
    monkeypatch.setattr(topk_command, "USERS", 1)
    assert topk(run, "--users=b,nobody,c", "--k=3", "--with_seen", "--output=top.csv") == 0
    written, scorer = pandas.read_csv("top.csv"), Scorer.load(run, device="cpu")
    assert written.columns.tolist() == ["user_id", "rank", "item_id", "score"]
    for user in ("b", "nobody", "c"):
        own, found = written[written.user_id == user], scorer.topk(user, 3, exclude_seen=False)
        assert own["rank"].tolist() == [1, 2, 3]
        assert own.item_id.tolist() == found.item.tolist()
        assert own.score.tolist() == pytest.approx(found.score.tolist())


def test_only_generated_candidates_are_ranked_where_that_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = toy_run(tmp_path, "AMEN")
    assert topk(run, "--users=b", "--with_seen", "--generated=3", "--output=top.csv") == 0
    found = Scorer.load(run, device="cpu").topk("b", exclude_seen=False, generated=3)
    assert pandas.read_csv("top.csv").item_id.tolist() == found.item.tolist() and len(found) == 3
    assert topk(run, "--users=b", "--with_seen", "--generated=2", "--output=top.csv") == 2
    assert "top.csv is there already and not of this command" in capsys.readouterr().err


def test_users_of_a_file_may_have_times_and_items_titles(tmp_path, monkeypatch):
    run = toy_run(tmp_path)
    items = tmp_path / "toy" / "toy.item"
    lines = items.read_text().splitlines()
    named = [lines[0] + "\ttitle:token_seq", *(f"{line}\tFilm {line.split()[0]}" for line in lines[1:])]
    items.write_text("\n".join(named) + "\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.csv").write_text("user_id,timestamp\na,1000000201\nc,1000000001\n")
    assert topk(run, "--users=users.csv", "--output=top.csv") == 0
    written = pandas.read_csv("top.csv")
    scorer = Scorer.load(run, device="cpu")
    expected = [*scorer.topk("a", at=1000000201).item, *scorer.topk("c", at=1000000001).item]
    assert written.item_id.tolist() == expected
    assert written.title.tolist() == [f"Film {item}" for item in expected]


def test_a_list_of_users_may_be_longer_than_the_name_of_a_file(run, folder):
    users = [f"stranger-{number}" for number in range(600)]
    assert topk(run, f"--users={','.join(users)}", "--k=1", "--output=top.csv") == 0
    assert pandas.read_csv("top.csv").user_id.tolist() == users


# -- Ctrl-C


@pytest.mark.parametrize("command", ["score --input=pairs.csv", "topk --users=a,b,c"])
def test_after_ctrl_c_a_sentence_says_that_the_same_command_goes_on_and_it_does(
    run, folder, monkeypatch, capsys, command
):
    monkeypatch.setattr(score_command, "ROWS", 4)
    monkeypatch.setattr(topk_command, "USERS", 1)
    argv = [*command.split(), f"--run={run}", "--device=cpu"]
    assert cli.main([*argv, "--output=whole.csv"]) == 0
    write, parts = score_command.ResumableCSV.write, []

    def interrupted(self, *args):
        if parts:
            raise KeyboardInterrupt
        parts.append(1)
        write(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(score_command.ResumableCSV, "write", interrupted)
        assert cli.main([*argv, "--output=out.csv"]) == 130
        told = "The command was interrupted; the same command goes on with out.csv.\n"
        assert capsys.readouterr().err == told
        before = set(folder.iterdir())
        assert cli.main([*argv, "--output=other.csv"]) == 130
        assert set(folder.iterdir()) == before
        capsys.readouterr()
        assert cli.main([*argv, "--output=-"]) == 130
        assert "it has to begin anew" in capsys.readouterr().err
    assert cli.main([*argv, "--output=out.csv"]) == 0
    assert (folder / "out.csv").read_bytes() == (folder / "whole.csv").read_bytes()


@pytest.mark.parametrize("command", ["score", "topk"])
def test_help_is_printed(command, capsys):
    assert cli.main([command, "--help"]) == 0
    assert f"usage: recbole-nif {command}" in capsys.readouterr().out


# -- an export in place of the run


def test_an_export_writes_the_same_files(run, folder):
    place = folder / "exported"
    assert cli.main(["export", f"--run={run}", f"--to={place}"]) == 0
    for source, name in ((run, "run"), (place, "export")):
        assert score(source, "--input=pairs.csv", f"--output=scores-of-{name}.csv") == 0
        assert topk(source, "--users=a,z", "--k=3", f"--output=top-of-{name}.csv") == 0
    for kind in ("scores", "top"):
        assert (folder / f"{kind}-of-run.csv").read_text() == (folder / f"{kind}-of-export.csv").read_text()


def test_the_output_of_a_run_is_not_that_of_its_export(run, folder, capsys):
    place = folder / "exported"
    assert cli.main(["export", f"--run={run}", f"--to={place}"]) == 0
    assert score(run, "--input=pairs.csv", "--output=scores.csv") == 0
    assert score(place, "--input=pairs.csv", "--output=scores.csv") == 2
    assert "scores.csv is there already and not of this command" in capsys.readouterr().err
