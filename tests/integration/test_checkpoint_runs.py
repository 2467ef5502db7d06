"""A run that starts from a checkpoint: tested as it is with ``epochs: 0``, or trained on."""

import json
from pathlib import Path

import pytest

from recbole_nif import run_recbole_nif
from recbole_nif.errors import UserError
from recbole_nif.trainer.checkpoint import load_data_and_model
from tests.toy import toy_config, write_toy


def run(folder, name, model, **overrides):
    ids = {"text_encoder": "features", "quantizer": "kmeans"} if model == "GenCI" else {}
    settings = toy_config(folder, model, **ids).resolved() | {"run_dir": str(folder / name), **overrides}
    return run_recbole_nif(config_dict=settings)


@pytest.mark.parametrize("model", ["NIFDIN", "NIFDIEN", "GenCI", "AMEN"])
def test_testing_a_checkpoint_gives_the_metrics_of_the_run_that_wrote_it(tmp_path, model):
    write_toy(tmp_path)
    trained = run(tmp_path, "trained", model, epochs=2, pretrain_epochs=1)
    file = str(Path(trained["run_dir"], "checkpoints", "finetune-best.pt"))
    tested = run(tmp_path, "tested", model, epochs=0, train_stage="finetune", model_file=file)
    for metric in ("auc", "logloss"):
        assert tested["test_result"][metric] == trained["test_result"][metric]
        assert tested["best_valid_result"][metric] == trained["best_valid_result"][metric]
    assert tested["best_valid_score"] == trained["best_valid_score"]
    (stage,) = json.loads(Path(tested["run_dir"], "result.json").read_text())["stages"]
    assert stage["epochs_run"] == 0
    assert stage["facts"]["started_from"]["file"] == "finetune-best.pt"


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    write_toy(tmp_path)
    trained = run(tmp_path, "trained", "NIFDIN", epochs=1)
    file = str(Path(trained["run_dir"], "checkpoints", "finetune-best.pt"))
    with pytest.raises(UserError, match="holds model 'NIFDIN', not 'AMEN'"):
        run(tmp_path, "tested", "AMEN", epochs=0, train_stage="finetune", model_file=file)


def test_a_trained_model_is_loaded_with_the_semantic_ids_of_its_run_and_needs_no_encoder(tmp_path):
    write_toy(tmp_path)
    trained = run(tmp_path, "trained", "GenCI", epochs=1, codebook_size=2, collision_codes=64)
    folder = Path(trained["run_dir"])
    ids = json.loads((folder / "toy.sem_ids.json").read_text())
    others = dict(zip(ids, [*list(ids.values())[1:], next(iter(ids.values()))], strict=True))
    (folder / "toy.sem_ids.json").write_text(json.dumps(others))  # told from what would be made anew
    _, model, dataset, *_ = load_data_and_model(folder / "checkpoints" / "finetune-best.pt")
    tokens = dataset.field2id_token["item_id"]
    assert dataset.semantic_ids.sizes == (2, 2, 2, 64)
    codes = dataset.semantic_ids.codes[1:].tolist()
    assert dict(zip(tokens[1:], codes, strict=True)) == others
