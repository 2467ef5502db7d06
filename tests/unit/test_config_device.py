"""NIFConfig: the device."""

import os

import pytest
import torch

from recbole_nif.config_device import choose_place
from recbole_nif.errors import UserError
from tests.unit.configs import config

# --- device


def test_the_device_is_chosen_from_recboles_keys_or_ours():
    assert config("--device=cpu")["device"] == torch.device("cpu")
    assert config("--use_gpu=False")["device"] == torch.device("cpu")
    assert config("--use_gpu=False")["use_gpu"] is False
    with pytest.raises(UserError, match="contradicts"):
        config("--use_gpu=False", "--device=cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_gpu_that_does_not_exist_is_told():
    with pytest.raises(UserError, match="'cuda:1' does not exist"):
        choose_place("cuda:1", None, None)
    if not torch.backends.mps.is_available():
        with pytest.raises(UserError, match="torch sees no GPU"):
            choose_place("auto", True, None)
        assert choose_place("auto", None, None).device.type == "cpu"


def test_cuda_visible_devices_changes_only_where_gpu_id_is_given(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    choose_place("cpu", None, None)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    choose_place("cpu", None, [0, 1])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    config("--gpu_id=3", "--device=cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_under_torchrun_the_rank_places_the_process_and_gpu_id_is_ignored(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    for key, value in {"LOCAL_RANK": "1", "RANK": "3", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(key, value)
    backends = []
    monkeypatch.setattr(torch.distributed, "init_process_group", backends.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    values = config("--gpu_id=0")
    assert backends == ["gloo"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    assert (values["local_rank"], values["rank"], values["world_size"]) == (1, 3, 4)
    assert values["single_spec"] is False
    assert values["show_progress"] is False


def test_under_torchrun_with_gpus_the_device_is_the_local_rank(monkeypatch):
    for key, value in {"LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(key, value)
    backends, current = [], []
    monkeypatch.setattr(torch.distributed, "init_process_group", backends.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    place = choose_place("auto", None, None)
    assert (place.device, backends, current) == (torch.device("cuda:1"), ["nccl"], [torch.device("cuda:1")])
