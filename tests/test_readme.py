"""What the README shows is run, or at least understood, by what it describes."""

import re

import pytest

from recbole_nif import cli
from recbole_nif.analysis.command import parse as parse_analyze
from recbole_nif.analysis.explain_command import parse as parse_explain
from recbole_nif.analysis.recall_command import parse as parse_recall
from recbole_nif.audit.command import READER, parse
from recbole_nif.config import NIFConfig
from recbole_nif.resources import dataset_configs_dir
from recbole_nif.sweep.command import parse as parse_sweep
from recbole_nif.sweep.sweep_file import find_sweep, read_sweep
from tests.documents import ROOT, blocks, dead_links, leads_somewhere, lines, options_of, run_python

FILE = ROOT / "README.md"
README = FILE.read_text(encoding="utf-8")
SNIPPETS = [block.text for block in blocks(FILE) if block.language == "python"]
RUN_FILE, SWEEP_FILE = (block.text for block in blocks(FILE) if block.language == "yaml")
COMMANDS = [line for block in blocks(FILE) if block.language == "bash" for line in lines(block)]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[f"snippet {n}" for n in range(1, len(SNIPPETS) + 1)])
def test_every_python_snippet_runs_and_prints_a_test_result(snippet, tmp_path):
    auc = re.search(r"'auc'[^\d]*(0\.\d+)", run_python(snippet, tmp_path), flags=re.IGNORECASE)
    assert auc and 0.5 < float(auc[1]) < 1


@pytest.mark.parametrize("command", [line for line in COMMANDS if options_of(line) is not None])
def test_every_command_is_understood(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_run.yaml").write_text(RUN_FILE)
    (tmp_path / "pairs.csv").write_text("user_id,item_id\n")
    options = options_of(command)
    if options[0].startswith("--sweep="):
        sweep, settings = parse_sweep(options)
        assert find_sweep(sweep.sweep).is_file() and settings == []
    elif options[0] == "audit":
        audit, settings = parse(options[1:])
        assert audit.run or NIFConfig(READER, audit.dataset, argv=settings)["dataset"] == "ml-100k"
    elif options[0] == "recall":
        assert parse_recall(options[1:])[1] == []
    elif options[0] == "analyze":
        analysis, settings = parse_analyze(options[1:])
        assert analysis.runs and analysis.out and settings == []
    elif options[0] == "explain":
        explanation, settings = parse_explain(options[1:])
        assert explanation.run and explanation.out and settings == []
    elif options[0] in ("score", "topk"):
        assert cli.main(options) == 2
        assert "saved/MY_RUN is not the folder of a run" in capsys.readouterr().err
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


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "results/README.md"])
def test_links_to_files_and_headings_of_this_repository_lead_somewhere(name):
    assert dead_links(ROOT / name) == []


def test_a_link_to_nothing_is_noticed():
    assert leads_somewhere("results/README.md#speed", FILE) and leads_somewhere("docs/index.md", FILE)
    assert not leads_somewhere("results/README.md#no-such-heading", FILE)
    assert not leads_somewhere("no-such-file.md", FILE)
