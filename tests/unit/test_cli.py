"""The command line: what it prints, what it returns, what it passes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import recbole_nif
from recbole_nif import cli
from recbole_nif.errors import UserError

ROOT = Path(recbole_nif.__file__).resolve().parents[1]


@pytest.fixture
def runs(monkeypatch):
    """Stands for quick_start and records what the command line passes on."""
    calls = []
    module = type(sys)("recbole_nif.quick_start")
    module.run_recbole_nif = lambda argv: calls.append(argv)
    monkeypatch.setitem(sys.modules, "recbole_nif.quick_start", module)
    module.calls = calls
    return module


def test_help_and_version_are_printed_without_importing_torch():
    code = (
        "import sys\nfrom recbole_nif import cli\n"
        "assert cli.main(['--help']) == 0 and cli.main(['--version']) == 0 and cli.main([]) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert "--config_files" in done.stdout
    assert recbole_nif.__version__ in done.stdout


def test_list_models_names_ours_and_recboles(capsys):
    assert cli.main(["--list_models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"AMEN", "GenCI", "NIFDIN", "NIFDIEN", "recbole.DIN", "recbole.DIEN", "LR", "DCNV2"} < set(lines)
    assert "DIN = NIFDIN" in lines[-1]


def test_options_are_passed_on_as_they_are(runs):
    argv = ["--model=AMEN", "-d", "ml-100k", "--eval_args.order=RO", "--run_dir=out/lr=1"]
    assert cli.main(argv) == 0
    assert runs.calls == [argv]


def test_the_options_of_the_process_are_the_default(runs, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["recbole-nif", "--model=LR"])
    assert cli.main() == 0
    assert runs.calls == [["--model=LR"]]


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_a_command_gets_the_rest_of_the_options_and_gives_the_exit_code(name, monkeypatch):
    calls = []
    module = type(sys)(cli.COMMANDS[name])
    module.main = lambda argv: calls.append(argv) or 1
    monkeypatch.setitem(sys.modules, cli.COMMANDS[name], module)
    assert cli.main([name, "ml-100k", "--help"]) == 1
    assert calls == [["ml-100k", "--help"]]
    assert f"  {name} " in cli.HELP


def test_a_table_of_runs_is_a_command(capsys):
    assert cli.main(["report", "no/such/run"]) == 2
    assert "no/such/run" in capsys.readouterr().err


def test_a_users_mistake_is_one_sentence_and_exit_code_2(runs, capsys):
    def fail(argv):
        raise UserError("Unknown model 'X'; did you mean 'Y'?")

    runs.run_recbole_nif = fail
    assert cli.main(["--model=X"]) == 2
    printed = capsys.readouterr()
    assert printed.err == "error: Unknown model 'X'; did you mean 'Y'?\n"
    assert printed.out == ""


def test_ctrl_c_is_one_sentence_and_exit_code_130(runs, capsys):
    def interrupt(argv):
        raise KeyboardInterrupt

    runs.run_recbole_nif = interrupt
    assert cli.main(["--model=LR"]) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_bug_is_not_dressed_up_as_a_users_mistake(runs):
    def fail(argv):
        raise KeyError("bug")

    runs.run_recbole_nif = fail
    with pytest.raises(KeyError):
        cli.main(["--model=LR"])


def test_the_script_in_the_checkout_runs_from_any_folder(tmp_path):
    command = [sys.executable, str(ROOT / "run_recbole_nif.py"), "--version"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"recbole_nif {recbole_nif.__version__}\n"


def test_a_reader_that_has_read_enough_ends_the_program_without_a_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-W", "ignore", "-m", "recbole_nif.cli", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writer)
    assert (done.returncode, done.stderr) == (cli.PIPE_CLOSED, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_finds_no_space_is_one_sentence_and_exit_code_2():
    command = [sys.executable, "-W", "ignore", "-m", "recbole_nif.cli", "--help"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=ROOT)
    assert done.returncode == 2
    told = b"error: the output cannot be written (No space left on device): free some space.\n"
    assert done.stderr == told


def test_a_place_that_cannot_be_read_or_written_is_told_in_one_sentence(monkeypatch, capsys):
    def refused(argv):
        raise PermissionError(13, "Permission denied", "dataset/mine")

    monkeypatch.setattr(cli, "_dispatch", refused)
    assert cli.main(["--model=LR"]) == 2
    assert capsys.readouterr().err == (
        "error: dataset/mine: Permission denied; check what is there and who may read and write it.\n"
    )
