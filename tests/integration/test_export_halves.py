"""Halves of models as ONNX graphs, run by onnxruntime: other sizes than those of the export, and mistakes."""

import json

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_nif.errors import UserError
from recbole_nif.export.halves import halves_of, tensors_of, with_tensors
from recbole_nif.export.onnx_graphs import OnnxHalves, export_halves
from recbole_nif.model.base import CTRModel, UserState
from tests.unit.amen_doubles import tiny_amen, tiny_batch
from tests.unit.doubles import FakeDataset, fake_batch, fake_config
from tests.unit.genci_doubles import history_batch, tiny_genci
from tests.unit.test_dien import make_dien
from tests.unit.test_din import make_din

LABELED = {"history": "all_with_label", "history_scene": True}
CASES = {
    "NIFDIN": lambda: (make_din(**LABELED), fake_batch()),
    "NIFDIEN": lambda: (make_dien(**LABELED), fake_batch()),
    "NIFDIEN-AGRU-mlp": lambda: (make_dien(gru_type="AGRU", attention_type="mlp"), fake_batch()),
    "NIFDIEN-packed": lambda: (make_dien(encode="packed"), history_batch()),
    "NIFDIEN-packed-AIGRU": lambda: (make_dien(encode="packed", gru_type="AIGRU"), history_batch()),
    "AMEN": lambda: (tiny_amen(), tiny_batch()),
    "GenCI": lambda: (tiny_genci(), history_batch()),
    "GenCI-window-beams": lambda: (tiny_genci(encode="window", beam_width=3), history_batch("window")),
}


SLOW = ("NIFDIEN-packed-AIGRU", "GenCI-window-beams")  # making GenCI's graphs takes a minute each time


@pytest.fixture(
    scope="module",
    params=[pytest.param(case, marks=pytest.mark.slow if case in SLOW else ()) for case in CASES],
)
def exported(request, tmp_path_factory):
    """A model in evaluation mode, a batch of its data and its graphs."""
    model, batch = CASES[request.param]()
    folder = tmp_path_factory.mktemp(request.param)
    files = export_halves(model.eval(), batch, folder)
    assert [path.name for path in files] == ["user.onnx", "candidates.onnx", "halves.json"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in files)
    return model, batch, OnnxHalves(*files[:2])


def probabilities(model, batch, candidates, rows) -> torch.Tensor:
    with torch.no_grad():
        return model.score(model.encode_user(batch), candidates, rows).sigmoid()


def candidates_of(n: int) -> dict[str, torch.Tensor]:
    return {"item_id": torch.arange(n) % 6 + 1, "hour": torch.arange(n) % 4}


@pytest.mark.parametrize("n", [1, 2, 40, 3000])
def test_states_are_scored_with_any_number_of_candidates(exported, n):
    model, batch, graphs = exported
    rows = torch.arange(n) % len(batch["item_id"])
    given = graphs.score(graphs.encode_user(batch), candidates_of(n), rows.numpy())
    assert torch.from_numpy(given).numpy() == pytest.approx(
        probabilities(model, batch, candidates_of(n), rows).numpy(), abs=1e-5
    )


def one_row(batch, row: int) -> Interaction:
    """Row ``row`` of a batch with a history, and a window, of its own."""
    columns, n = {}, len(batch["item_id"])
    history = int(batch["history_of"][row]) if "history_of" in batch.columns else None
    for name in batch.columns:
        column = batch[name]
        if name in ("history_of", "history_window", "moveline_row"):
            columns[name] = torch.zeros(1, dtype=torch.long)
        elif name == "history_cut":
            columns[name] = column[history : history + 1]
        elif name.startswith("history_"):
            columns[name] = column[batch["history_window"][history]][None]
        elif name.startswith("moveline_") and len(column) != n:
            columns[name] = column[batch["moveline_row"][row]][None]
        else:
            columns[name] = column[row : row + 1]
    return Interaction(columns)


def test_a_user_alone_is_scored_as_by_the_model_also_without_a_history(exported):
    model, batch, graphs = exported
    for row in range(len(batch["item_id"])):
        alone, rows = one_row(batch, row), torch.zeros(5, dtype=torch.long)
        given = graphs.score(graphs.encode_user(alone), candidates_of(5), rows.numpy())
        expected = probabilities(model, alone, candidates_of(5), rows)
        assert given == pytest.approx(expected.numpy(), abs=1e-5)


def test_longer_histories_are_scored_as_by_the_model():
    model, batch = make_din().eval(), fake_batch()
    user, candidate = halves_of(model, batch)
    columns = {name: batch[name] for name in user.inputs}
    columns["item_id_list"] = torch.tensor([[1, 2, 3, 4, 5, 6, 1, 2, 3], [6, 5, 4, 0, 0, 0, 0, 0, 0]])
    columns = {name: column[:2] for name, column in columns.items()}
    state = dict(zip(user.outputs, user.program.module()(columns), strict=True))
    logit, _ = candidate.program.module()(state, torch.tensor([1, 0, 1]), candidates_of(3))
    with torch.no_grad():
        expected = model.score(model.encode_user(columns), candidates_of(3), torch.tensor([1, 0, 1]))
    assert torch.allclose(logit, expected, atol=1e-6)


def test_inputs_and_outputs_are_described(tmp_path):
    export_halves(make_din().eval(), fake_batch(), tmp_path)
    record = json.loads((tmp_path / "halves.json").read_text())
    assert record["model"] == "NIFDIN"
    state = [
        {"name": "state.user", "shape": ["rows", 8]},
        {"name": "state.history", "shape": ["rows", "length", 12]},
        {"name": "state.mask", "shape": ["rows", "length"]},
    ]
    assert record["user"]["outputs"] == state
    assert {"name": "item_id_list", "type": "int64", "shape": ["rows", "length"]} in record["user"]["inputs"]
    names = [field["name"] for field in record["candidates"]["inputs"]]
    assert names == [*(field["name"] for field in state), "state_of", "item_id", "hour"]


def test_a_state_is_put_together_from_its_tensors():
    with torch.no_grad():
        state = tiny_amen().encode_user(tiny_batch())
    tensors = {name: tensor + 1 for name, tensor in tensors_of(state).items() if tensor.is_floating_point()}
    changed = with_tensors(state, tensors_of(state) | tensors)
    assert torch.equal(changed.moveline.flow, state.moveline.flow + 1)
    assert torch.equal(changed.moveline.window, state.moveline.window)


# -- mistakes


def test_a_model_without_halves_is_named(tmp_path):
    with pytest.raises(UserError, match="Linear scores user and item in one step"):
        export_halves(torch.nn.Linear(1, 1), fake_batch(), tmp_path)


class Counting(CTRModel):
    """Reads a number of rows out of their values, which no graph can."""

    def encode_user(self, batch):
        user = self.embed_user(batch)
        return UserState(user[user.sum(1) > 0])

    def score(self, state, candidates, rows=None):
        return self.embed_items(candidates["item_id"]).sum(-1) + state.user.sum()


class Branching(Counting):
    """Decides by a value."""

    def encode_user(self, batch):
        user = self.embed_user(batch)
        return UserState(user if float(user.sum()) > 0 else -user)


def test_what_cannot_be_exported_is_told_in_a_sentence_and_leaves_no_file(tmp_path):
    model = Branching(fake_config(), FakeDataset())
    with pytest.raises(UserError, match="torch.export cannot follow the user half of Branching: .+") as error:
        export_halves(model, fake_batch(), tmp_path)
    assert len(str(error.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


class Forgetful(Counting):
    """Scores otherwise when it is exported."""

    def encode_user(self, batch):
        return UserState(self.embed_user(batch))

    def score(self, state, candidates, rows=None):
        logits = self.embed_items(candidates["item_id"]).sum(-1)
        return logits + 1 if torch.compiler.is_compiling() else logits


def test_graphs_that_score_otherwise_are_not_kept(tmp_path):
    model = Forgetful(fake_config(), FakeDataset())
    with pytest.raises(UserError, match="The graphs of Forgetful differ from the model by .+: none is kept"):
        export_halves(model, fake_batch(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_nif.export.onnx_graphs.PACKAGES", ("onnx_of_tomorrow",))
    with pytest.raises(UserError, match=r"ONNX needs onnx_of_tomorrow: pip install 'recbole-nif\[onnx\]'"):
        export_halves(make_din(), fake_batch(), tmp_path)
