"""The pages of docs/ are run from top to bottom, and the reference of keys names them all."""

import importlib.util
import re
import shlex
import socket
import subprocess
import sys

import pytest
import yaml

from recbole_nif import cli
from recbole_nif.config_parsing import flatten, load_yaml
from recbole_nif.resources import props_dir
from tests.documents import PAGES, ROOT, blocks, dead_links, lines, options_of, run_python

HOOK = ROOT / "docs" / "hooks" / "configuration.py"
INSTALLS = ("pip", "python -m venv", ". .venv")  # what the tests' environment has behind it
SMALL = ["--epochs=1", "--pretrain_epochs=1", "--show_progress=False", "--tensorboard=False"]
FEW_USERS = "--user_inter_num_interval=[350,inf)"  # of ml-100k
RUN_PAGES = [page for page in PAGES if any(block.language in ("bash", "python") for block in blocks(page))]


@pytest.fixture(scope="module")
def configuration():
    spec = importlib.util.spec_from_file_location("configuration", HOOK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def service(tmp_path):
    """Runs a line that ends in ``&`` until the test ends; it has begun when it has said something."""
    running = []

    def start(options):
        command = [sys.executable, str(ROOT / "run_recbole_nif.py"), *options]
        running.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE))
        assert running[-1].stdout.readline()

    yield start
    for process in running:
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.parametrize("page", RUN_PAGES, ids=lambda page: page.stem)
def test_a_page_runs_from_top_to_bottom_and_prints_what_it_shows(page, tmp_path, monkeypatch, capfd, service):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    printed, same = "", without_numbers
    port = free_port()
    for block in blocks(page):
        block = block._replace(text=re.sub(r"\b8000\b", port, block.text))
        if block.title:
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            printed, same = run_python(block.text, tmp_path), without_numbers
        elif block.language == "bash":
            printed = "".join(run_line(line, tmp_path, capfd, service) for line in lines(block))
            same = audited if "recbole-nif audit " in block.text else without_numbers
        elif block.language == "text":
            there = set(map(same, printed.splitlines()))
            assert [line for line in map(same, block.text.splitlines()) if line not in there] == []


def free_port():
    """One that nobody listens on, as a text."""
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return str(any_port.getsockname()[1])


def run_line(line, folder, capfd, service):
    """What a shell line prints; trainings are small."""
    options = options_of(line)
    if line.endswith("&"):
        service(options[:-1])
        return ""
    if options is None:
        words = shlex.split(line)
        if words[0] == "python" and words[1].endswith(".py"):
            return run_python((folder / words[1]).read_text(encoding="utf-8"), folder)
        assert line.startswith(INSTALLS), f"no test knows how to run {line}"
        return ""
    if options[0].startswith("--model"):
        options = [option for option in options if not option.startswith("--epochs")] + SMALL
        options += [FEW_USERS] * ("ml-100k" in line)
    capfd.readouterr()
    assert cli.main(options) == 0, capfd.readouterr().err
    return capfd.readouterr().out


def without_numbers(line):
    """A printed line without its numbers, column widths and the settings that name a row."""
    line = re.sub(r"\b\w+=\S+ ?", "", line)
    line = re.sub(r"[-+]?\d([\d,.]*\d)?(e[-+]\d+)?", "0", line)
    return re.sub(r" +", " ", re.sub(r"-+", "-", line)).strip()


def audited(line):
    """A line of an audit with its figures, but for those that a solver finds."""
    return without_numbers(line) if "baseline" in line else " ".join(line.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_a_page_lead_somewhere(page):
    assert dead_links(page) == []


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f": {page.name}\n" not in navigation] == []


def test_the_reference_names_every_key_with_its_default(configuration):
    for path in [props_dir() / "overall.yaml", *(props_dir() / "model").glob("*.yaml")]:
        chapter = configuration.chapter(path)
        shown = dict(re.findall(r"^\| `(\S+)` \| `(.+?)` \|", chapter, flags=re.MULTILINE))
        defaults = {key: yaml.safe_load(default) for key, default in shown.items()}
        keys = dict(flatten(load_yaml(path)))
        assert defaults == {key: value for key, value in keys.items() if not isinstance(value, dict)}
        assert chapter in configuration.reference()
    assert "| `epochs` | `50` | int | Most epochs of the (fine-tuning) stage. |" in configuration.reference()


def test_a_key_that_no_table_would_show_stops_the_site(configuration, tmp_path, monkeypatch):
    monkeypatch.setattr(configuration, "ROOT", tmp_path)
    file = tmp_path / "overall.yaml"
    file.write_text("# Head.\nepochs: 50   # (int) Most epochs.\n\n# Data\nlist:\n  - a\n")
    with pytest.raises(ValueError, match="overall.yaml"):
        configuration.chapter(file)


def test_the_page_of_the_reference_asks_for_the_tables(configuration):
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert configuration.reference() in configuration.on_page_markdown(page)


def test_a_page_can_show_a_file_of_this_repository(configuration):
    shown = configuration.on_page_markdown("A\n<!-- file props/preset/official_code.yaml -->\nB")
    assert "encoder_input: tokens\n" in shown and "<!--" not in shown
