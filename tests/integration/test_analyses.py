"""``recbole-nif analyze`` and ``recbole-nif explain`` on small runs, from training to files."""

import csv
import json
import random
import shutil
from collections import defaultdict

import numpy as np
import pytest
import torch
import yaml

from recbole_nif import cli, run_recbole_nif
from recbole_nif.analysis.cases import find_case
from recbole_nif.analysis.command import parse
from recbole_nif.analysis.flow_pictures import binned, next_clicks
from recbole_nif.analysis.projections import project
from recbole_nif.analysis.runs import load_run
from recbole_nif.evaluation.flow_probe import mean_angles
from recbole_nif.evaluation.scored_rows import SCORES_FILE, ScoredRows
from tests.logs import make_log
from tests.toy import toy_config, write_toy

rng = random.Random(0)
ROWS = [
    (f"u{user}", f"m{item}", rng.choice([1, 2, 4, 5]), 1000 + 60 * user + place - place % rng.choice([1, 2]))
    for user in range(8)
    for place, item in enumerate(rng.sample(range(40), 30))
]
SMALL = {"epochs": 1, "embedding_size": 4, "mlp_hidden_size": [8], "ema_decay": 0}
MODELS = {
    "NIFDIN": {},
    "NIFDIEN": {"hidden_size": 8},
    "AMEN": {"pretrain_epochs": 1, "hidden_size": 8, "flow_len": 2},
    "GenCI": {
        "hidden_size": 8, "head_size": 4, "inner_size": 8, "n_heads": 2, "teacher_mlp_hidden_size": [8],
        "text_encoder": "features", "quantizer": "kmeans", "code_levels": 2, "codebook_size": 3,
    },
    "recbole.DIN": {},
}  # fmt: skip
NAMES = {"m1": "A", "m2": "Two Words"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A trained run of every model, by its name, and one of another seed."""
    folder = tmp_path_factory.mktemp("runs")
    write_toy(folder, ROWS)
    items = folder / "toy" / "toy.item"
    lines = [line.split("\t") for line in items.read_text().splitlines()]
    titles = ["movie_title:token_seq", *(NAMES.get(line[0], "") for line in lines[1:])]
    text = "\n".join("\t".join([*line, title]) for line, title in zip(lines, titles, strict=True))
    items.write_text(text + "\n")
    wanted = [(name, name, own) for name, own in MODELS.items()]
    wanted.append(("again", "NIFDIN", {"seed": 2021}))
    for name, model, own in wanted:
        config = toy_config(folder, model, **SMALL, **own).resolved()
        run_recbole_nif(config_dict=config | {"run_dir": str(folder / name)})
    return folder


def analyze(out, *runs):
    assert cli.main(["analyze", *map(str, runs), "--out", str(out)]) == 0
    with (out / "groups.csv").open() as file:
        return list(csv.DictReader(file))


def test_sums_over_groups_are_the_totals_of_the_run(runs, tmp_path, capsys):
    lines = analyze(tmp_path, runs / "NIFDIN", runs / "again", runs / "recbole.DIN")
    of = defaultdict(list)
    for line in lines:
        of[line["run"], line["grouping"]].append(line)
    assert {grouping for _, grouping in of} == {"all", "volatility", "history", "popularity", "gap"}
    for (run, grouping), parts in of.items():
        record = json.loads((runs / run / "result.json").read_text())
        rows = [int(part["rows"]) for part in parts]
        assert sum(rows) == record["rows"]["test"]
        clicks = sum(n * float(part["click share"]) for n, part in zip(rows, parts, strict=True))
        assert clicks == pytest.approx(ScoredRows.load(runs / run / SCORES_FILE).label.sum())
        losses = [float(part["logloss"]) for part in parts]
        assert np.average(losses, weights=rows) == pytest.approx(record["test"]["logloss"], abs=1e-6)
        if grouping == "all":
            for metric in ("auc", "gauc"):
                assert float(parts[0][metric]) == pytest.approx(record["test"][metric], abs=1e-6, nan_ok=True)
    text = (tmp_path / "analysis.md").read_text()
    assert text.startswith("# Analysis of toy, split user_time") and "By interest volatility (genre)" in text
    assert text.strip() in capsys.readouterr().out
    seeds = [line for line in text.splitlines() if "| NIFDIN" in line and "±" in line]
    assert seeds  # two seeds of one model are one line
    for name in ("groups.png", "calibration.png", "calibration.csv"):
        assert (tmp_path / name).stat().st_size > 100


@pytest.mark.parametrize("projection", ["pca", "tsne"])
def test_what_models_generate_is_drawn(runs, tmp_path, projection):
    argv = ["analyze", str(runs / "AMEN"), str(runs / "GenCI"), "--out", str(tmp_path)]
    assert cli.main([*argv, f"--projection={projection}"]) == 0
    names = ("AMEN-flow.png", "AMEN-flow.csv", "AMEN-path.csv", "GenCI-vectors.png", "GenCI-vectors.csv")
    text = (tmp_path / "analysis.md").read_text()
    assert set(names) <= {path.name for path in tmp_path.iterdir()}, text
    flow = list(csv.DictReader((tmp_path / "AMEN-flow.csv").open()))
    assert len(flow) == 24 and all(0 <= float(line["diversity"]) <= 180 for line in flow)
    kinds = {line["kind"] for line in csv.DictReader((tmp_path / "GenCI-vectors.csv").open())}
    assert kinds == {"long-term intent", "short-term intent", "target"}
    assert "cosine with its own target" in text and "| velocity" in text


def test_a_run_without_weights_has_its_groups_and_no_pictures(runs, tmp_path, capsys):
    shutil.copytree(runs / "AMEN", tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "checkpoints")
    analyze(tmp_path / "out", tmp_path / "copy")
    assert "No pictures of it: " in (tmp_path / "out" / "analysis.md").read_text()
    assert not list((tmp_path / "out").glob("*flow*"))
    assert cli.main(["explain", f"--run={tmp_path / 'copy'}", "--user=u1", "--item=m1"]) == 2
    assert "finetune-best.pt does not exist: give a run" in capsys.readouterr().err
    (tmp_path / "copy" / "export.json").write_text("{}")
    for command in (["explain", "--user=u1", "--item=m1"], ["audit"]):
        assert cli.main([*command, f"--run={tmp_path / 'copy'}"]) == 2
        assert "copy is an export, without the run's data" in capsys.readouterr().err


def test_without_categories_volatility_is_left_out(runs, tmp_path, capsys):
    columns = {"inter": ["user_id", "item_id", "rating", "timestamp"], "user": ["user_id", "age"]}
    shutil.copytree(runs / "NIFDIN", tmp_path / "copy")
    config = yaml.safe_load((runs / "NIFDIN" / "config.yaml").read_text())
    config |= {"load_col": columns, "scene_field": None}
    (tmp_path / "copy" / "config.yaml").write_text(yaml.safe_dump(config))
    assert cli.main(["analyze", str(tmp_path / "copy")]) == 0
    printed = capsys.readouterr().out
    assert "Interest volatility is left out" in printed and "By interest volatility" not in printed


# -- explain


def explained(capsys, run, user, item, *options):
    assert cli.main(["explain", f"--run={run}", f"--user={user}", f"--item={item}", *options]) == 0
    return capsys.readouterr().out


def item_column(text, heading):
    """Items of the table below a heading."""
    table = [
        line for line in text.partition(f"## {heading}")[2].partition("\n## ")[0].splitlines() if "|" in line
    ]
    place = [cell.strip() for cell in table[0].split("|")].index("item")
    return [line.split("|")[place].strip() for line in table[2:]]


@pytest.mark.parametrize("name", MODELS)
def test_a_test_row_is_explained_with_the_score_of_the_run(name, runs, capsys):
    config, model, views = load_run(runs / name)
    test = views[2]
    row = test.inter_feat[3]
    tokens = [test.field2id_token[field][int(row[field])] for field in ("user_id", "item_id")]
    text = explained(capsys, runs / name, *tokens, "--top=60")
    scored = ScoredRows.load(runs / name / SCORES_FILE)
    assert f"Score {scored.score[scored.row_id == int(row['row_id'])][0]:.4f}. Row of the test split" in text
    assert ("click" if row["label"] else "no click") + "." in text
    if name == "recbole.DIN":
        assert "recbole.DIN tells nothing of how it comes to a score." in text
        return
    case = find_case(views, *tokens)
    batch, log = case.batch, test.event_log
    if "item_id_list" in batch.columns:
        seen = batch["item_id_list"][0]
    else:
        seen = batch["history_item"][0, : int(batch["history_cut"][0])]
    expected = [test.field2id_token["item_id"][item] for item in seen.tolist() if item]
    assert item_column(text, "Attention over the history") == expected
    if name == "AMEN":
        begin, end = log.visible(torch.tensor([case.row]))
        window = log.item[int(begin) : int(end)][-int(batch["moveline_cut"][0]) :].tolist()
        assert item_column(text, "Attention over the moveline") == [
            test.field2id_token["item_id"][item] for item in window
        ]
        assert "## Scenes of the moveline" in text and "| f2 " in text
    assert ("## Generated interest cohorts" in text) == (name == "GenCI")


def test_an_item_that_was_never_shown_is_a_candidate(runs, tmp_path, capsys):
    seen = {item for user, item, _, _ in ROWS if user == "u2"}
    item = next(item for _, item, _, _ in ROWS if item not in seen)
    text = explained(capsys, runs / "AMEN", "u2", item, "--top=3", f"--out={tmp_path}")
    assert "No row of the data has both: a candidate as of the user's last event" in text
    assert (tmp_path / f"explain-u2_{item}.md").read_text() in text
    assert (tmp_path / f"explain-u2_{item}.png").stat().st_size > 1000
    assert len(item_column(text, "Attention over the history")) == 3


def test_titles_are_those_of_the_item_file(runs, capsys):
    user = next(user for user, item, _, _ in ROWS if item == "m2")
    assert f"user {user}, item m2 (Two Words)" in explained(capsys, runs / "NIFDIN", user, "m2")


# -- mistakes


def wrong_labels(runs, folder):
    shutil.copytree(runs / "NIFDIN", folder)
    rows = ScoredRows.load(folder / SCORES_FILE)
    ScoredRows(rows.row_id, rows.user, 1 - rows.label, rows.score).save(folder / SCORES_FILE)
    record = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(record | {"seed": 7}))
    return folder


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ("analyze", "analyze needs the folder of a run"),
        ("analyze nowhere", "nowhere cannot be read: give a run folder"),
        ("analyze {runs}/NIFDIN/result.json --bins=0", "--bins is 0"),
        ("analyze {runs}/NIFDIN --projection=umap", "invalid choice: 'umap'"),
        (
            "analyze {runs}/NIFDIN --category=genres",
            "--category is 'genres', but token columns of the items are: genre",
        ),
        ("analyze {runs}/NIFDIN {wrong}", "scored different rows: analyze them apart"),
        ("analyze {wrong}", "are not those of the data"),
        ("analyze {runs}/NIFDIN --out={runs}/toy/toy.inter", "Cannot make the folder --out"),
        ("explain --run={runs}/NIFDIN", "explain needs --user and --item"),
        ("explain --run={runs}/toy --user=u1 --item=m1", "toy is not the folder of a run"),
        ("explain --run={runs}/NIFDIN --user=u99 --item=m1", "--user 'u99' is not in column user_id of toy"),
        (
            "explain --run={runs}/NIFDIN --user=u1 --item=[PAD]",
            "--item '[PAD]' is not in column item_id of toy",
        ),
        ("explain --run={runs}/NIFDIN --user=u1 --item=m1 --top=0", "--top is 0"),
        ("explain --run={runs}/NIFDIN --user=u1 --item=m1 --top=few", "invalid int value"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(argv, told, runs, tmp_path, capsys):
    wrong = wrong_labels(runs, tmp_path / "wrong") if "{wrong}" in argv else ""
    assert cli.main(argv.format(runs=runs, wrong=wrong).split()) == 2
    printed = capsys.readouterr().err
    assert told in printed and len(printed.splitlines()) == 1


@pytest.mark.parametrize("command", ["analyze", "explain"])
def test_help_is_printed(command, capsys):
    assert cli.main([command, "--help"]) == 0
    assert f"usage: recbole-nif {command}" in capsys.readouterr().out


def test_runs_may_stand_before_and_behind_options():
    options, settings = parse(["a", "--out", "x", "b", "--seed=1", "c"])
    assert options.runs == ["a", "b", "c"] and settings == ["--seed=1"]
    assert parse(["--out=x", "b"])[0].runs == ["b"]


# -- the arithmetic of the pictures


def test_principal_components_keep_the_order_of_a_line_and_have_a_sign():
    line = np.outer(np.arange(5.0), [3.0, 4.0, 0.0])
    points = project(line)
    assert points[:, 0] == pytest.approx([-10, -5, 0, 5, 10])
    assert points[:, 1] == pytest.approx(np.zeros(5))
    assert project(line[:1]).shape == (1, 2)


def test_tsne_is_the_same_each_time():
    vectors = np.random.default_rng(0).normal(size=(12, 4))
    assert np.array_equal(project(vectors, "tsne"), project(vectors, "tsne"))


def test_diversity_and_velocity_are_angles():
    right_angles = torch.eye(3).unsqueeze(0)
    there_and_back = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
    assert [float(value) for value in mean_angles(right_angles)] == pytest.approx([90, 90], abs=1e-3)
    assert [float(value) for value in mean_angles(there_and_back)] == pytest.approx([60, 90], abs=1e-3)


def test_the_next_clicks_of_a_row_are_its_users_own():
    log = make_log([1, 1, 1, 1, 2], [1, 2, 3, 4, 5], [0, 1, 2, 3, 0], [1, 0, 1, 1, 1])
    items, known = next_clicks(log, torch.tensor([0, 1, 3]), 2)
    assert items[:2].tolist() == [[1, 3], [3, 4]]
    assert known.tolist() == [True, True, False]


def test_bins_of_a_curve_leave_out_what_is_undefined():
    x, y = binned(np.array([3, 1, 2, 9]), np.array([30.0, 10.0, 20.0, np.nan]), bins=2)
    assert x.tolist() == [1.5, 3] and y.tolist() == [15, 30]
