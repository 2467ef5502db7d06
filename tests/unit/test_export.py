"""An export answers as its run does, without the data's files, and is whole or not there."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_nif.analysis.runs import load_run
from recbole_nif.cli import main
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.errors import UserError
from recbole_nif.export import write
from recbole_nif.export.files import whole_folder
from recbole_nif.export.onnx_graphs import OnnxHalves
from recbole_nif.export.read import read_export
from recbole_nif.export.stored_data import _read_codes, _write_codes
from recbole_nif.export.write import export_run
from recbole_nif.inference import Scorer
from recbole_nif.model.base import CTRModel, UserState
from recbole_nif.semantic_id.codes import SemanticIds
from recbole_nif.semantic_id.quantizer import QuantizerSettings, quantize
from recbole_nif.semantic_id.quantizer_file import FittedQuantizer
from tests.toy import ROWS, save_run, toy_config, write_toy
from tests.toy_runs import SMALL, toy_run
from tests.unit.run_doubles import make_record

ITEMS = [*(f"m{number}" for number in range(1, 11)), "unknown"]
AT = 1000000450
EVENTS = [
    {"item_id": item, "rating": rating, "timestamp": time} for user, item, rating, time in ROWS if user == "a"
]


class Counting(CTRModel):
    """Its scores depend on a number that no weight holds."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.rows = dataset.item_num + (10 if hasattr(dataset, "inter_num") else 0)

    def encode_user(self, batch):
        return UserState(user=self.embed_user(batch))

    def score(self, state, candidates, rows=None):
        return state.select(rows).user.sum(-1) * self.rows + self.embed_items(candidates["item_id"]).sum(-1)


class Greedy(CTRModel):
    """Reads all rows of its dataset."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.mean = float(dataset.inter_feat[dataset.label_field].float().mean())


def answers(scorer):
    """Scores of known and new users, now and in the past."""
    pairs = [{"user_id": user, "item_id": item, "timestamp": AT} for user in "abcz" for item in ITEMS]
    return np.concatenate([
        scorer.score_pairs(pairs),
        scorer.score("b", ITEMS),
        scorer.score("z", ITEMS, history=EVENTS, at=AT),
        scorer.score("b", ITEMS, user_features={"age": 21}),
    ])  # fmt: skip


@pytest.mark.parametrize(
    "model",
    ["NIFDIN", "NIFDIEN", "AMEN", "GenCI", "DeepFM", "recbole.DIN", "tests.unit.inner_product:InnerProduct"],
)
def test_an_export_answers_to_the_last_digit_without_run_and_data(tmp_path, model):
    run = toy_run(tmp_path, model)
    scorer = Scorer.load(run, device="cpu")
    folder = export_run(run, tmp_path / "to" / "export")
    shutil.rmtree(run)
    shutil.rmtree(tmp_path / "toy")
    exported = Scorer.load(folder, device="cpu")
    expected = answers(scorer)
    assert expected.std() > 1e-4
    assert np.array_equal(answers(exported), expected)
    assert exported.topk("c", 4).equals(scorer.topk("c", 4))
    for either in (scorer, exported):
        either.update("c", EVENTS[5:])
        either.add_items([{"item_id": "new", "genre": "Comedy"}])
    assert np.array_equal(exported.score("c", ["m1", "new"]), scorer.score("c", ["m1", "new"]))


@pytest.mark.parametrize(
    "overrides",
    [
        {"scene_field": "item_id", "scene_mode": "token"},
        {"scene_field": ["age", "item_id"], "scene_mode": "cross"},
        {"scene_field": None},
        {"history_until": "train", "history_ties": "order"},
    ],
    ids=["scenes are items", "scenes of users and events", "one scene", "frozen histories"],
)
def test_rules_of_the_data_are_kept(tmp_path, overrides):
    run = toy_run(tmp_path, "AMEN", **overrides)
    folder = export_run(run, tmp_path / "export")
    expected = answers(Scorer.load(run, device="cpu"))
    shutil.rmtree(tmp_path / "toy")
    assert np.array_equal(answers(Scorer.load(folder, device="cpu")), expected)


def test_numbers_of_new_items_are_scaled_as_those_of_training(tmp_path):
    write_toy(tmp_path)
    file = tmp_path / "toy" / "toy.item"
    lines = file.read_text().splitlines()
    priced = [f"{line}\t{place / 10}" for place, line in enumerate(lines[1:])]
    file.write_text("\n".join([f"{lines[0]}\tprice:float", *priced]) + "\n")
    columns = {"inter": ["user_id", "item_id", "rating", "timestamp"], "item": ["item_id", "genre", "price"]}
    config = toy_config(tmp_path, "NIFDIN", load_col=columns, numerical_features=["price"], **SMALL)
    torch.manual_seed(0)
    run = save_run(tmp_path / "run", config, config.model_class(config, CTRDataset(config).build()[0]))
    scorers = [Scorer.load(folder, device="cpu") for folder in (run, export_run(run, tmp_path / "export"))]
    for scorer in scorers:
        scorer.add_items([{"item_id": "new", "price": 0.2}, {"item_id": "other", "price": None}])
    expected, exported = (scorer.score("b", ["m1", "new", "other"]) for scorer in scorers)
    assert len(set(expected)) == 3
    assert np.array_equal(exported, expected)


def test_nothing_is_pickled(tmp_path):
    folder = export_run(toy_run(tmp_path, "GenCI"), tmp_path / "export")
    assert {path.suffix for path in folder.iterdir()} == {".json", ".yaml", ".md", ".safetensors"}
    assert str(tmp_path) not in (folder / "config.yaml").read_text() + (folder / "README.md").read_text()


def test_without_the_log_known_users_need_a_history(tmp_path):
    run = toy_run(tmp_path)
    folder = export_run(run, tmp_path / "export", with_log=False)
    scorer, exported = Scorer.load(run, device="cpu"), Scorer.load(folder, device="cpu")
    assert not (folder / "events.safetensors").exists()
    for ask in (
        lambda: exported.score("a", ITEMS),
        lambda: exported.topk("a"),
        lambda: exported.score_pairs([{"user_id": "z", "item_id": "m1"}, {"user_id": "a", "item_id": "m1"}]),
    ):
        with pytest.raises(UserError, match="without its event log: give a user's history"):
            ask()
    expected = scorer.score("a", ITEMS, at=AT)
    assert np.array_equal(exported.score("a", ITEMS, history=EVENTS, at=AT), expected)
    assert exported.topk("z", 99).equals(scorer.topk("z", 99))
    exported.update("a", EVENTS)
    assert np.array_equal(exported.score("a", ITEMS, at=AT), expected)


def test_codes_keep_the_quantizer_that_names_new_items(tmp_path):
    values = {"quantizer": "kmeans", "code_levels": 2, "codebook_size": 3, "seed": 0}
    settings = QuantizerSettings.of(dict.fromkeys(QuantizerSettings.__dataclass_fields__) | values)
    vectors = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    made = quantize(settings, vectors, np.ones(9, dtype=bool))
    fitted = FittedQuantizer(settings, made.sizes, {"text_encoder": "any"}, made.quantizer)
    ids = SemanticIds(torch.tensor([[-1, -1, -1], [2, 0, 0]]), (3, 3, 256), quantizer=fitted)
    _write_codes(tmp_path, ids)
    read = _read_codes(tmp_path)
    assert torch.equal(read.codes, ids.codes)
    assert (read.sizes, read.quantizer.vectors_of) == (ids.sizes, {"text_encoder": "any"})
    assert torch.equal(read.quantizer.encode(vectors), torch.from_numpy(made.codes))


def test_the_card_tells_figures_with_their_rows_seed_and_device(tmp_path):
    run = toy_run(tmp_path, "AMEN")
    record = make_record(
        "AMEN", 0.87654, 7, dataset="toy", git_commit=None, rows={"test": 3, "clicks_share": 0.5},
        test={"logloss": 0.5},
    )  # fmt: skip
    (run / "result.json").write_text(json.dumps(record))
    card = (export_run(run, tmp_path / "export") / "README.md").read_text()
    assert "| this model | 0.8765 | undefined | 0.5000 |" in card
    assert "3 test rows, seed 7, A CPU" in card
    assert "toy: user_time, ties cut, histories strict, online" in card
    assert "reconstruction" in card


def test_a_target_that_holds_something_is_refused_and_left_alone(tmp_path, capsys):
    run = toy_run(tmp_path)
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "mine.txt").write_text("mine")
    assert main(["export", f"--run={run}", f"--to={tmp_path / 'export'}"]) == 2
    assert "export is there already: give a new folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "export").iterdir()] == ["mine.txt"]


def test_a_folder_without_a_name_and_a_failure_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="has no name of its own"), whole_folder(Path(".")):
        pass
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "a" / "b" / "export") as folder:
        (folder / "part").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="File name too long"), whole_folder(tmp_path / "a" / ("b" * 300)):
        pass
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "a" / "b" / "export") as folder:
        (folder / "part").touch()
    assert [path.name for path in (tmp_path / "a" / "b" / "export").iterdir()] == ["part"]


def test_graphs_beside_the_weights_score_rows_that_they_were_not_made_with(tmp_path):
    run = toy_run(tmp_path)
    assert main(["export", f"--run={run}", f"--to={tmp_path / 'export'}", "--onnx"]) == 0
    folder = tmp_path / "export" / "onnx"
    assert {path.name for path in folder.iterdir()} == {"user.onnx", "candidates.onnx", "halves.json"}
    assert "onnx/halves.json" in (tmp_path / "export" / "README.md").read_text()
    _, network, (train, _, test) = load_run(run, [])
    graphs = OnnxHalves(folder / "user.onnx", folder / "candidates.onnx")
    for batch in (test[:], train[:3]):
        given = graphs.score(graphs.encode_user(batch), batch, np.arange(len(batch)))
        with torch.no_grad():
            assert given == pytest.approx(network.eval().predict(batch).numpy(), abs=1e-5)


def test_a_model_without_graphs_leaves_no_export(tmp_path, capsys):
    run = toy_run(tmp_path, "LR")
    assert main(["export", f"--run={run}", f"--to={tmp_path / 'export'}", "--onnx"]) == 2
    assert "LR scores user and item in one step" in capsys.readouterr().err
    assert not (tmp_path / "export").exists()


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "write_data", full)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="Cannot write .*No space left"):
        export_run(toy_run(tmp_path), tmp_path / "out" / "export")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("Counting", "scores otherwise after export"),
        ("Greedy", r"dataset\.inter_feat, which no export holds"),
    ],
)
def test_a_model_that_needs_more_than_an_export_is_refused(tmp_path, model, sentence):
    run = toy_run(tmp_path, f"tests.unit.test_export:{model}")
    with pytest.raises(UserError, match=sentence):
        export_run(run, tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_what_is_wrong_with_an_export_is_told_in_one_sentence(tmp_path):
    folder = export_run(toy_run(tmp_path), tmp_path / "export")

    def refused(name: str, content: bytes | None, sentence: str) -> None:
        whole = (folder / name).read_bytes()
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        with pytest.raises(UserError, match=sentence):
            read_export(folder)
        (folder / name).write_bytes(whole)

    refused("export.json", b'{"format": 99, "recbole_nif": "9.0"}', "format 99, made by recbole_nif 9.0, but")
    refused("export.json", b"[]", r"export\.json is damaged")
    refused("tables.safetensors", None, r"tables\.safetensors cannot be read")
    refused("events.safetensors", (folder / "events.safetensors").read_bytes()[:-9], "is damaged")
    refused("model.safetensors", (folder / "events.safetensors").read_bytes(), "does not fit the model")
    refused("columns.json", b"{}", "has no ")
    refused("config.yaml", None, r"config\.yaml")
    assert read_export(folder)


def test_the_command_needs_both_folders(capsys):
    assert main(["export", "--run=somewhere"]) == 2
    assert "export needs --to" in capsys.readouterr().err
