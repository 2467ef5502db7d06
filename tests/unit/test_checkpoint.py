import collections
import errno
import os
import pickle

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from recbole_nif.errors import UserError
from recbole_nif.trainer import checkpoint


def payload(module, model="NIFDIN", stage="finetune"):
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "model": model,
        "stage": stage,
        "epoch": 3,
        "state_dict": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "early_stop": {"best": np.float64(0.75), "step": 1, "best_epoch": 2},
        "config": {"device": torch.device("cpu"), "mlp": (8, 4), "seed": 2020, "nothing": None},
    }


def test_a_checkpoint_comes_back_with_the_same_tensors_and_plain_values(tmp_path):
    module = nn.Linear(3, 2)
    path = tmp_path / "checkpoints" / "finetune-best.pt"
    checkpoint.save(path, payload(module))
    loaded = checkpoint.load(path, expected_model="NIFDIN", expected_stage="finetune")
    assert torch.equal(loaded["state_dict"]["weight"], module.weight)
    assert loaded["early_stop"] == {"best": 0.75, "step": 1, "best_epoch": 2}
    assert type(loaded["early_stop"]["best"]) is float
    assert loaded["config"] == {"device": "cpu", "mlp": [8, 4], "seed": 2020, "nothing": None}
    optimizer = torch.optim.Adam(module.parameters())
    optimizer.load_state_dict(loaded["optimizer"])
    assert optimizer.state[module.weight]["step"] == 1


def test_saving_replaces_the_file_and_leaves_no_temporary_one(tmp_path):
    path = tmp_path / "best.pt"
    for value in (1.0, 2.0):
        checkpoint.save(path, {**payload(nn.Linear(3, 2)), "epoch": value})
    assert os.listdir(tmp_path) == ["best.pt"]
    assert checkpoint.load(path)["epoch"] == 2.0


def test_a_write_that_fails_leaves_the_old_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "best.pt"
    checkpoint.save(path, payload(nn.Linear(3, 2)))
    before = path.read_bytes()

    def half_write(value, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", half_write)
    with pytest.raises(UserError, match=r"best.pt \(No space left on device\): free space"):
        checkpoint.save(path, payload(nn.Linear(3, 2)))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["best.pt"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(UserError, match=r"best.pt \(File exists\): free space or make the folder"):
        checkpoint.save(tmp_path / "checkpoints" / "best.pt", payload(nn.Linear(3, 2)))


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"expected_model": "AMEN"}, "holds model 'NIFDIN', not 'AMEN'"),
        ({"expected_stage": "pretrain"}, "holds stage 'finetune', not 'pretrain'"),
    ],
)
def test_another_model_or_stage_is_refused(tmp_path, keywords, told):
    path = tmp_path / "best.pt"
    checkpoint.save(path, payload(nn.Linear(3, 2)))
    with pytest.raises(UserError, match=told):
        checkpoint.load(path, **keywords)


def test_a_missing_file_is_told_by_its_path(tmp_path):
    with pytest.raises(UserError, match="none.pt does not exist"):
        checkpoint.load(tmp_path / "none.pt")


@pytest.mark.parametrize(
    "content",
    [
        b"not a checkpoint",
        pickle.dumps({"format": 1, "state_dict": collections.Counter()}),
        b"",
    ],
)
def test_foreign_files_are_refused_and_not_ours(tmp_path, content):
    path = tmp_path / "foreign.pth"
    path.write_bytes(content)
    assert not checkpoint.is_ours(path)
    with pytest.raises(UserError, match="foreign.pth is not a checkpoint"):
        checkpoint.load(path)


def test_a_recbole_checkpoint_is_not_ours(tmp_path):
    path = tmp_path / "DeepFM.pth"
    torch.save({"epoch": 1, "state_dict": nn.Linear(2, 2).state_dict()}, path)
    assert not checkpoint.is_ours(path)


@pytest.mark.parametrize("other", [nn.Linear(4, 2), nn.Sequential(nn.Linear(3, 2))])
def test_weights_of_another_shape_or_name_are_refused_with_the_file_named(other):
    with pytest.raises(UserError, match="best.pt does not fit the"):
        checkpoint.restore(other, nn.Linear(3, 2).state_dict(), "best.pt")


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
@example(b"user_id:token\titem_id:token\n1\t2\n")
def test_a_file_of_any_other_bytes_is_refused_in_one_sentence(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "other.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not a checkpoint of"):
        checkpoint.load(path)
