"""Sweep files: which runs they ask for, and what is wrong with them in one sentence."""

import pytest
import yaml

from recbole_nif import cli
from recbole_nif.config import NIFConfig
from recbole_nif.resources import props_dir
from recbole_nif.sweep.ledger import Ledger
from recbole_nif.sweep.screen import listing
from recbole_nif.sweep.sweep_file import find_sweep, read_sweep

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
SHIPPED = sorted(path.stem for path in (props_dir() / "sweep").glob("*.yaml"))


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads a sweep of these values, on ml-100k if they say nothing else."""
    monkeypatch.chdir(tmp_path)

    def reader(given=(), **values):
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump({"models": ["LR"], "datasets": ["ml-100k"]} | values))
        return read_sweep(file, dict(given))

    return reader


def runs(sweep):
    return [part.run(values) for part in sweep.parts for values in part.points()]


def test_a_grid_is_every_combination_of_models_splits_seeds_and_values(read):
    sweep = read(
        models=[
            "LR",
            {"NIFDIN": {"grid": {"embedding_size": [4, 8, 12], "mlp_hidden_size": [[8], [8, 4]]}}},
        ],
        splits=["user_time", "random"],
        seeds=[1, 2],
    )
    assert len(runs(sweep)) == 2 * 2 * (1 + 3 * 2)
    assert len({run.key for run in runs(sweep)}) == 28
    labels = [run.label for run in runs(sweep)]
    assert labels[0] == "LR ml-100k user_time s1"
    assert labels[-1] == "NIFDIN embedding_size=12 mlp_hidden_size=[8,4] ml-100k random s2"
    config = NIFConfig(config_dict=runs(sweep)[-1].settings)
    assert config["mlp_hidden_size"] == [8, 4] and config["split_preset"] == "random" and config["seed"] == 2


def test_a_name_that_is_no_sweep_is_told_with_the_shipped_ones(capsys):
    assert cli.main(["--sweep=quikc"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(
        "error: There is no sweep file quikc: give the path of one, or one of amen_ablation, "
    )
    assert "quick" in told and told.count("\n") == 1


def test_an_entrys_values_win_over_the_data_sets_and_those_over_all_runs(read):
    sweep = read(
        models=["LR", {"NIFDIN": {"epochs": 7}}],
        datasets=[{"ml-100k": {"epochs": 5, "train_batch_size": 64}}],
        settings={"epochs": 3, "train_batch_size": 32, "eval_step": 2},
    )
    found = {run.settings["model"]: run.settings for run in runs(sweep)}
    assert [found[name]["epochs"] for name in ("LR", "NIFDIN")] == [5, 7]
    assert all(found[name]["train_batch_size"] == 64 and found[name]["eval_step"] == 2 for name in found)


def test_an_entrys_grid_replaces_that_of_all_models(read):
    sweep = read(
        models=["LR", {"NIFDIN": {"grid": {"dropout_prob": [0.0, 0.5]}}}],
        grid={"learning_rate": [0.1, 0.01, 0.001]},
    )
    assert [len(list(part.points())) for part in sweep.parts] == [3, 2]


def test_the_command_line_holds_for_all_runs(read):
    sweep = read({"epochs": 1, "checkpoint_dir": "out"}, models=["LR", {"NIFDIN": {"epochs": 7}}])
    assert [run.settings["epochs"] for run in runs(sweep)] == [1, 1]
    assert str(sweep.folder) == "out/sweeps/mine"


def test_a_run_has_one_folder_wherever_it_is_asked_for(read):
    """Both grids hold NIFDIN's defaults."""
    sweep = read(
        models=[
            {"NIFDIN": {"grid": {"cross_layers": [0, 3]}}},
            {"NIFDIN": {"grid": {"embedding_size": [8, 16]}}},
        ]
    )
    keys = [run.key for run in runs(sweep)]
    assert len(keys) == 4 and len(set(keys)) == 3


def test_another_setting_of_all_runs_makes_another_folder(read):
    assert runs(read(settings={"epochs": 3}))[0].key != runs(read(settings={"epochs": 4}))[0].key


def test_where_things_lie_and_how_they_are_shown_does_not_make_another_folder(read):
    assert runs(read())[0].key == runs(read({"show_progress": False, "data_path": "dataset/"}))[0].key


def test_a_model_that_does_not_exist_yet_is_listed_as_not_implemented(read):
    sweep = read(models=["LR", {"FutureNet": {"optional": True, "layers": 3}}])
    assert sweep.missing == ["FutureNet ml-100k"] and len(sweep.parts) == 1
    assert "| FutureNet ml-100k | not implemented |  |" in listing(sweep)


def test_the_list_of_runs_counts_what_a_search_has_done(read, tmp_path):
    sweep = read(models=[{"LR": {"search": {"learning_rate": [0.1, 0.2]}}}], budget={"trials": 5})
    (part,) = sweep.parts
    ledger = Ledger(sweep, str(tmp_path / "journal"))
    for _ in range(2):
        ledger.take(part, lambda trial, values: 0.5)
    assert "up to 5 runs, 2 done" in listing(sweep, ledger) and "3 runs to do" in listing(sweep, ledger)
    assert "5 runs to do" in listing(sweep)


def test_values_tuned_on_several_splits_are_not_kept_as_those_of_the_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    search = {"LR": {"search": {"learning_rate": [0.1, 0.2]}}}
    values = {"models": [search], "datasets": ["ml-100k"], "splits": ["user_time", "global_time"]}
    values |= {"budget": {"trials": 2}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    assert cli.main(["--sweep=mine.yaml", "--save_tuned"]) == 2
    assert "the sweep has several splits: leave it out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_search_has_the_places_of_its_budget(read):
    search = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "mlp_hidden_size": [[8], [16]]}
    (part,) = read(models=["NIFDIN"], search=search, budget={"trials": 12}).parts
    assert part.searched and part.places == 12
    assert part.space["learning_rate"].log and part.space["mlp_hidden_size"].choices == ("[8]", "[16]")


def test_a_search_stays_the_same_when_its_winner_is_in_use(read, tmp_path, monkeypatch):
    tuned = tmp_path / "tuned.yaml"
    for module in ("config", "config_layers"):
        monkeypatch.setattr(f"recbole_nif.{module}.tuned_file", lambda model, dataset: tuned)
    searched = {"learning_rate": [0.1, 0.2], "clip_grad_norm.max_norm": {"low": 1.0, "high": 2.0}}
    values = {"models": ["LR"], "search": searched, "budget": {"trials": 3}}
    point = {"learning_rate": 0.1, "clip_grad_norm.max_norm": 1.5}
    (before,) = read(**values).parts
    tuned.write_text("learning_rate: 0.1\nclip_grad_norm: {max_norm: 1.5}\n")
    (after,) = read(**values).parts
    assert after.study == before.study and after.run(point) == before.run(point)
    (other,) = read(**values, settings={"embedding_size": 3}).parts
    assert other.study != after.study
    tuned.write_text("embedding_size: 7\n")  # not of this search: its runs are others
    assert read(**values).parts[0].study != before.study


@pytest.mark.parametrize("name", SHIPPED)
def test_every_key_of_a_shipped_sweep_is_valid(name, tmp_path):
    sweep = read_sweep(
        find_sweep(name), {"checkpoint_dir": str(tmp_path), "epochs": 1, "data_path": str(tmp_path)}
    )
    shown = listing(sweep)
    expected = {
        "quick": 12,
        "genci_table3": 3 * (16 - len(sweep.missing)),
        "genci_table4": 3 * 7,
        "amen_ablation": 3 * (18 + 5),
        "sensitivity": (1 + 4 * 4) + (1 + 3 + 2 + 3 + 4 * 3),  # each model's defaults once
        "tune": 7 * 30,
        "ml_100k": 5 * 8,
        "ml_1m": 3 * 9,
        "ml_1m_global_time": 8,
        "genci_table4_ml_100k": 3 * 7,
    }
    assert f"{expected[name]} runs to do; time in one process: unknown for {expected[name]} runs." in shown
    assert list(tmp_path.iterdir()) == []


def test_table_3_has_sixteen_rows_whether_implemented_or_not():
    sweep = read_sweep(find_sweep("genci_table3"), {})
    assert len({part.model for part in sweep.parts}) + len(sweep.missing) == 16


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"models": ["LRR"]}, ["Unknown model 'LRR'", "did you mean 'LR'"]),
        ({"models": []}, ["names no models"]),
        ({"models": [{"LR": {}, "AMEN": {}}]}, ["models must list NAME"]),
        ({"models": "LR"}, ["models", "a list"]),
        ({"modles": ["LR"]}, ["Unknown key 'modles'", "did you mean 'models'"]),
        ({"datasets": ["ml-100"]}, ["Unknown dataset 'ml-100'"]),
        ({"settings": {"epoch": 3}}, ["LR on ml-100k", "Unknown key 'epoch'", "did you mean 'epochs'"]),
        ({"settings": {"epochs": "many"}}, ["epochs must be a whole number"]),
        ({"settings": {"seed": 3}}, ["seed cannot stand in settings", "seeds"]),
        ({"models": [{"LR": {"epochs": 1.5}}]}, ["epochs must be a whole number"]),
        ({"grid": {"epochs": []}}, ["grid.epochs must be a list of values"]),
        ({"grid": {"epochs": [1, 1]}}, ["grid.epochs has 1 twice"]),
        ({"grid": {"learning_rate": [0.1, -1]}}, ["learning_rate must be at least 0"]),
        ({"grid": {"learning_rate": {"low": 0.1, "high": 1.0}}}, ["grid.learning_rate must be a list"]),
        ({"grid": {"flow_len": [1, 2]}}, ["flow_len has no effect on this model"]),
        ({"search": {"learning_rate": [0.1, 1.0]}}, ["budget: {trials: 30}"]),
        ({"search": {"learning_rate": {"low": 0.1}}}, ["needs both low and high"]),
        (
            {"search": {"learning_rate": {"low": 1.0, "high": 0.1}}},
            ["search.learning_rate cannot be searched"],
        ),
        ({"search": {"learning_rate": {"lo": 1.0}}}, ["'search.learning_rate.lo'", "did you mean 'low'"]),
        ({"grid": {"epochs": [1]}, "search": {"eval_step": [1]}}, ["either grid or search"]),
        ({"splits": []}, ["splits", "a list of names"]),
        ({"splits": ["user_tim"]}, ["user_tim", "did you mean 'user_time'"]),
        ({"seeds": ["one"]}, ["seeds", "a list of whole numbers"]),
        ({"seeds": [1, 1]}, ["seeds", "twice"]),
        ({"seeds": [1, -5]}, ["seeds in mine.yaml must be between 0 and 4294967295"]),
        (
            {"search": {"embedding_size": {"low": 1, "high": 9, "step": 0.5}}},
            ["search.embedding_size", "its step must be a whole number"],
        ),
        (
            {"search": {"learning_rate": {"low": 0.1, "high": float("inf"), "step": 0.1}}},
            ["search.learning_rate cannot be searched"],
        ),
        ({"models": ["LR", "LR"]}, ["asks twice for LR ml-100k user_time s2020"]),
        ({"metric": "AUCC"}, ["AUCC"]),
        ({"prune": 1}, ["prune", "True or False"]),
        ({"budget": {"trials": 0}}, ["budget.trials", "above 0"]),
        ({"budget": {"runs": 3}}, ["'budget.runs'"]),
    ],
)
def test_a_wrong_sweep_file_is_refused_in_one_sentence(values, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = yaml.safe_dump({"models": ["LR"], "datasets": ["ml-100k"], "budget": {"hours": 1}} | values)
    (tmp_path / "mine.yaml").write_text(text)
    assert cli.main(["--sweep=mine.yaml"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1, printed.err
    assert [word for word in words if word not in printed.err] == []
    assert printed.out == "" and [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--sweep=nowhere.yaml"], ["nowhere.yaml", "There is no sweep file"]),
        (["--sweep"], ["--sweep"]),
        (["--sweep=quick", "--epoch=3"], ["Unknown key 'epoch'"]),
        (["--sweep=quick", "--seed=3"], ["seed cannot stand in the command line"]),
        (
            ["--sweep=quick", "--config_files=x.yaml"],
            ["config_files cannot stand in the command line", "'settings' in that file"],
        ),
        (["--sweep=quick", "--checkpoint_dir=not_a_journal.txt"], ["Cannot write", "--checkpoint_dir"]),
        (["--sweep=quick", "--save_tuned=not_a_journal.txt"], ["Cannot write", "--save_tuned"]),
        (["--sweep=quick", "--storage=nosql://x/y"], ["storage nosql://x/y"]),
        (["--sweep=quick", "--storage=not_a_journal.txt"], ["storage not_a_journal.txt"]),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(argv, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "not_a_journal.txt").write_text("a list of things to buy\nmilk\n")
    assert cli.main(argv) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1, printed.err
    assert [word for word in words if word not in printed.err] == []
