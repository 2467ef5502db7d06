"""A scorer says what the evaluation of its run said, for every model, on the real ml-100k."""

from pathlib import Path

import numpy as np
import pandas
import pytest

from recbole_nif import run_recbole_nif
from recbole_nif.evaluation.scored_rows import SCORES_FILE, ScoredRows
from recbole_nif.inference import Scorer

SMALL = {
    "epochs": 1, "embedding_size": 8, "mlp_hidden_size": [16], "ema_decay": 0, "train_batch_size": 2048,
    "tensorboard": False, "device": "cpu", "show_progress": False, "state": "ERROR",
    "user_inter_num_interval": "[40,60]", "MAX_ITEM_LIST_LENGTH": 10, "moveline_length": 20,
}  # fmt: skip
SEMANTIC = {"text_encoder": "features", "quantizer": "kmeans", "code_levels": 2, "codebook_size": 8}
MODELS = {
    "NIFDIN": {"history": "all_with_label"},
    "NIFDIEN": {"hidden_size": 8, "encode": "packed"},
    "AMEN": {
        "pretrain_epochs": 1, "hidden_size": 8, "flow_len": 2, "pretrain_batch_size": 128,
        "pretrain_eval_rows": 200, "flow_cache": "none",  # stored flows are rounded to half precision
    },
    "GenCI": {"hidden_size": 8, "head_size": 4, "inner_size": 8, "n_heads": 2, "lambda_sr": 0.0, **SEMANTIC},
    "DeepFM": {},
    "recbole.DIN": {"mlp_hidden_size": [8, 8]},
    "tests.unit.inner_product:InnerProduct": {},
}  # fmt: skip


@pytest.fixture(scope="module", params=list(MODELS))
def run(request, tmp_path_factory):
    """The folder of a short run, and its scorer."""
    folder = tmp_path_factory.mktemp("run")
    settings = SMALL | MODELS[request.param] | {"run_dir": str(folder / "run"), "checkpoint_dir": str(folder)}
    run_recbole_nif(request.param, "ml-100k", config_dict=settings)
    return folder / "run", Scorer.load(folder / "run", device="cpu")


@pytest.fixture(scope="module")
def tested(run):
    """The test rows as a user's table, with the score that the evaluation gave each."""
    folder, scorer = run
    scored, data = ScoredRows.load(folder / SCORES_FILE), scorer.data
    log = data.log
    place = log.position[scored.row_id].numpy()
    columns = data.columns.tokens
    return pandas.DataFrame({
        "user_id": columns["user_id"][scored.user],
        "item_id": columns["item_id"][log.item.numpy()[place]],
        "timestamp": log.timestamp.numpy()[place],
        "evaluated": scored.score,
    })  # fmt: skip


def test_pairs_as_of_their_own_time_score_as_in_the_evaluation(run, tested):
    scores = run[1].score_pairs(tested)
    assert scores.dtype == np.float32
    assert np.abs(scores - tested.evaluated).max() < 1e-6
    assert tested.evaluated.std() > 1e-3


def test_the_order_and_number_of_pairs_do_not_matter(run, tested):
    shuffled = tested.sample(300, random_state=0)
    assert np.abs(run[1].score_pairs(shuffled) - shuffled.evaluated).max() < 1e-6


def test_one_user_at_a_time_scores_as_the_batch(run, tested):
    scorer = run[1]
    for (user, at), rows in list(tested.groupby(["user_id", "timestamp"]))[:30]:
        scores = scorer.score(user, rows.item_id, at=at)
        assert np.abs(scores - rows.evaluated).max() < 1e-6


def test_a_history_in_place_of_the_log_scores_as_the_log(run, tested):
    scorer = run[1]
    path = Path(scorer.data.config["data_path"], "ml-100k.inter")
    raw = pandas.read_csv(path, sep="\t").rename(columns=lambda name: name.partition(":")[0])
    raw[["user_id", "item_id"]] = raw[["user_id", "item_id"]].astype(str)
    for (user, at), rows in list(tested.groupby(["user_id", "timestamp"]))[-30:]:
        scores = scorer.score(user, rows.item_id, history=raw[raw.user_id == user], at=at)
        assert np.abs(scores - rows.evaluated).max() < 1e-6
