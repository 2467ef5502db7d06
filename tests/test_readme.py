"""What the README shows is run, or at least understood, by what it describes."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_nif import cli
from recbole_nif.analysis.command import parse as parse_analyze
from recbole_nif.analysis.explain_command import parse as parse_explain
from recbole_nif.audit.command import READER, parse
from recbole_nif.config import NIFConfig
from recbole_nif.resources import dataset_configs_dir
from recbole_nif.sweep.command import parse as parse_sweep
from recbole_nif.sweep.sweep_file import find_sweep, read_sweep

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
SNIPPETS = [text for language, text in BLOCKS if language == "python"]
RUN_FILE, SWEEP_FILE = (text for language, text in BLOCKS if language == "yaml")
COMMANDS = [line for language, text in BLOCKS if language == "bash" for line in text.splitlines()]


def options_of(command: str) -> list[str] | None:
    """The options that a shell line hands to our command line."""
    words = shlex.split(command)
    program = [index for index, word in enumerate(words) if word in ("recbole-nif", "run_recbole_nif.py")]
    return words[program[-1] + 1 :] if program else None


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[f"snippet {n}" for n in range(1, len(SNIPPETS) + 1)])
def test_every_python_snippet_runs_and_prints_a_test_result(snippet, tmp_path):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    (tmp_path / "snippet.py").write_text(snippet)
    done = subprocess.run([sys.executable, "snippet.py"], **options)
    assert done.returncode == 0, done.stderr
    auc = re.search(r"'auc'[^\d]*(0\.\d+)", done.stdout, flags=re.IGNORECASE)
    assert auc and 0.5 < float(auc[1]) < 1


@pytest.mark.parametrize("command", [line for line in COMMANDS if options_of(line) is not None])
def test_every_command_is_understood(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_run.yaml").write_text(RUN_FILE)
    options = options_of(command)
    if options[0].startswith("--sweep="):
        sweep, settings = parse_sweep(options)
        assert find_sweep(sweep.sweep).is_file() and settings == []
    elif options[0] == "audit":
        audit, settings = parse(options[1:])
        assert audit.run or NIFConfig(READER, audit.dataset, argv=settings)["dataset"] == "ml-100k"
    elif options[0] == "analyze":
        analysis, settings = parse_analyze(options[1:])
        assert analysis.runs and analysis.out and settings == []
    elif options[0] == "explain":
        explanation, settings = parse_explain(options[1:])
        assert explanation.run and explanation.out and settings == []
    elif options[0] not in cli.COMMANDS:
        config = NIFConfig(argv=options)
        assert config["model_name"] and config["dataset"].startswith("ml-1")


def test_the_sweep_file_asks_for_what_its_comments_say(tmp_path):
    (tmp_path / "own.yaml").write_text(SWEEP_FILE)
    sweep = read_sweep(tmp_path / "own.yaml", {})
    counts = {"LR": 1, "NIFDIN": 1, "AMEN": 4, "DeepFM": 20}
    assert sum(part.places for part in sweep.parts) == 2 * 3 * sum(counts.values())
    assert {part.model: part.places for part in sweep.parts} == counts
    assert sweep.missing == ["NextYearsNet ml-100k"] and sweep.hours == 8


def test_the_first_two_commands_stand_on_the_first_screen():
    first_screen = "\n".join(README.splitlines()[:26])
    assert "run_recbole_nif.py --model=AMEN --dataset=ml-100k" in first_screen
    assert "python -m pytest -q" in first_screen


def test_ci_runs_the_test_command_of_the_readme():
    pattern = re.search(r"grep --max-count=1 '(.+?)' README.md", (ROOT / ".ci" / "run").read_text())
    assert len(re.findall(pattern[1], README, flags=re.MULTILINE)) == 1


def test_the_table_of_datasets_is_complete():
    names = {path.stem for path in dataset_configs_dir().glob("*.yaml")}
    assert {name for name in names if f"`{name}`" not in README} == {"clicklog"}


def test_links_to_files_and_headings_of_this_repository_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not leads_somewhere(link)] == []
    assert not leads_somewhere("results/README.md#no-such-heading") and not leads_somewhere("no-such-file.md")


def leads_somewhere(link):
    """Whether a relative link names a file that is there and, after #, a heading of it."""
    path, _, anchor = link.partition("#")
    file = ROOT / path if path else ROOT / "README.md"
    if not anchor:
        return file.exists()
    headings = re.findall(r"^#+ (.+)$", file.read_text(), flags=re.MULTILINE)
    return anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
