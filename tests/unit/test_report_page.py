"""The page: one file, the same whenever it is made, with links to runs and nothing that a name can break."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from recbole_nif.publish.command import main
from tests.unit.run_doubles import make_record, make_scores, write_run
from tests.unit.test_report_figures import stage


class Reader(HTMLParser):
    """Collects tags with their attributes, and checks that they are closed in order."""

    VOID = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag, attribute):
        return [attrs[attribute] for name, attrs in self.tags if name == tag and attribute in attrs]


@pytest.fixture
def runs(tmp_path):
    """Two seeds of AMEN, one of a variant, and an unfinished run."""
    stages = [stage([0.5, 0.6])]
    folders = [
        write_run(tmp_path / "saved" / "one & two", make_record(seed=1, stages=stages), make_scores(1.0, 1)),
        write_run(tmp_path / "saved" / "b", make_record(seed=2, stages=stages), make_scores(1.0, 2)),
        write_run(
            tmp_path / "saved" / "c", make_record(seed=1, settings={"use_sam": False}), make_scores(2.0)
        ),
    ]
    (tmp_path / "saved" / "d").mkdir()
    (tmp_path / "saved" / "d" / "config.yaml").write_text("model: AMEN\ndataset: ml-100k\nseed: 3\n")
    return [*folders, tmp_path / "saved" / "d"]


def page(runs, out, *options):
    assert main([*map(str, runs), "--out", str(out), *options]) == 0
    return out.with_suffix(".html").read_text()


def test_the_page_holds_its_figures_and_asks_for_nothing_else(runs, tmp_path):
    text = page(runs, tmp_path / "results" / "toy.md")
    reader = Reader(text)
    assert len(reader.all("img", "src")) == 2  # an ablation, learning curves
    assert all(source.startswith("data:image/svg+xml;base64,") for source in reader.all("img", "src"))
    assert all(reader.all("img", "alt")) and not re.search(r"<script|<link|@import|url\(", text)
    figures = {path.name for path in (tmp_path / "results" / "toy-figures").iterdir()}
    names = ("1-ml-100k-user_time-ablation-1", "1-ml-100k-user_time-learning-finetune-auc")
    assert figures == {f"{name}.{kind}" for name in names for kind in ("svg", "csv")}
    for link in reader.all("a", "href"):
        assert link.startswith("#") or (tmp_path / "results" / unquote(link)).exists()
    assert set(reader.all("tr", "id")) == {"run-1", "run-2", "run-3"}


def test_cells_link_to_the_run_and_those_of_several_seeds_to_their_lines(runs, tmp_path):
    text = page(runs, tmp_path / "results" / "toy.md")
    assert '<a href="../saved/one%20%26%20two">1</a>, <a href="../saved/b">2</a>; missing: 3' in text
    assert re.search(r'<td class="number"><a href="#run-1">0\.8000 ± 0\.0000</a></td>', text)
    assert re.search(r'<a href="../saved/c">0\.8000</a>', text)
    assert re.search(r'id="run-3"><td[^>]*><a href="../saved/c">AMEN use_sam=False</a></td>', text)


def test_collected_records_are_linked_instead_of_run_folders(runs, tmp_path):
    text = page(runs, tmp_path / "results" / "toy.md", "--collect", str(tmp_path / "results" / "toy"))
    assert "../saved" not in text and 'href="toy/AMEN-user_time-s1.json"' in text
    assert "[1](toy/AMEN-user_time-s1.json)" in (tmp_path / "results" / "toy.md").read_text()
    copy = tmp_path / "results" / "toy" / "AMEN-use_sam=False-user_time-s1.json"
    text = page([copy], tmp_path / "results" / "again.md")
    assert f'href="toy/{copy.name.replace("=", "%3D")}"' in text


def test_the_same_runs_give_the_same_files(runs, tmp_path):
    first = page(runs, tmp_path / "a" / "toy.md")
    assert page(runs, tmp_path / "b" / "toy.md") == first
    for file in (tmp_path / "a" / "toy-figures").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / "toy-figures" / file.name).read_bytes()


def test_names_cannot_break_the_page(tmp_path):
    evil = '<img src=x onerror="alert(1)">'
    record = make_record(seed=1, dataset=f"d{evil}", settings={"note": f"'{evil}&"}, git_commit=evil)
    record["device"]["name"] = evil
    text = page([write_run(tmp_path / "a", record)], tmp_path / "toy.md")
    Reader(text)
    assert "<img" not in text and "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;" in text


def test_tables_of_the_same_name_have_places_and_figures_of_their_own(tmp_path):
    runs = [
        write_run(tmp_path / str(size), make_record(rows={"test": size}, stages=[stage([0.5, 0.6])]))
        for size in (8, 9)
    ]
    reader = Reader(page(runs, tmp_path / "toy.md"))
    assert reader.all("h2", "id") == ["section-1", "section-2"]
    assert reader.all("a", "href")[:2] == ["#section-1", "#section-2"]
    assert len(set(reader.all("img", "src"))) == 1 and len(list((tmp_path / "toy-figures").iterdir())) == 4


def test_a_page_is_refused_where_tables_do_not_end_in_md(runs, tmp_path, capsys):
    assert main([str(runs[0]), "--out", str(tmp_path / "toy.html")]) == 2
    assert "must end in .md" in capsys.readouterr().err
    assert not (tmp_path / "toy.html").exists()


def test_results_of_another_schema_are_told_in_one_sentence(tmp_path, capsys):
    run = write_run(tmp_path / "new", make_record(schema=3))
    assert main([str(run), "--out", str(tmp_path / "toy.md")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {run / 'result.json'} is of schema 3, but this version reads 1 and 2: ")
    assert not (tmp_path / "toy.md").exists()
