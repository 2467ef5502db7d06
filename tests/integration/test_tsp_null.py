"""Where labels are coin flips, nothing can be learned, and neither the pair loss nor AUC may say otherwise.

A held-out pair loss below log 2, or below the loss for the opposite labels, would mean that the way pairs are
chosen gives their labels away. It may be above log 2: scores that say nothing cost more the larger they are.
"""

import copy
import math

import numpy as np
import pytest
import torch

from recbole_nif.config import NIFConfig
from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.data.fields import ROW_ID
from recbole_nif.trainer.trainer import NIFTrainer
from tests.planted import MODELS, SETTINGS, write_planted


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("coins"), seed=1, users=300, events=50, noise=0.5)


def pair_losses(config, model, view) -> np.ndarray:
    """The pair loss of small batches of the rows of ``view``, with partners among these rows: [N, 2], for
    their labels and for the opposite ones."""
    view = copy.copy(view)
    view.train_rows = view.inter_feat[ROW_ID]
    config["train_batch_size"] = 10  # rows of two users: batches are all but independent
    losses = []
    with torch.no_grad():
        for batch in CTRDataLoader(config, view, phase="train"):
            given = model.loss_terms(batch)["tsp"]
            batch["label"] = 1 - batch["label"]
            losses.append([given.item(), model.loss_terms(batch)["tsp"].item()])
    return np.array(losses)


@pytest.mark.parametrize(
    ("mode", "partner", "seed"),
    [
        ("logit", "in_batch", 3),
        ("logit", "in_batch", 8),  # where it failed while the later row read the earlier one's label
        ("logit", "nearest", 3),
        ("shift", "in_batch", 3),
        ("both", "in_batch", 3),
    ],
)
def test_on_coin_flips_the_held_out_pair_loss_stays_at_log_2_and_auc_at_a_half(folder, mode, partner, seed):
    overrides = {
        "tsp_mode": mode,
        "tsp_partner": partner,
        "tsp_ratio": 1.0,
        "lambda_tsp": 1.0,
        "epochs": 1,
        "seed": seed,
    }
    settings = {**SETTINGS, **MODELS["AMEN"], "data_path": str(folder), **overrides}
    config = NIFConfig("AMEN", "planted", config_dict=settings)
    train, _, test = CTRDataset(config).build()
    torch.manual_seed(seed)
    model = config.model_class(config, train)
    trainer = NIFTrainer(config, model)
    trainer.fit(CTRDataLoader(config, train, shuffle=True), saved=False)
    test_rows = CTRDataLoader(config, test, phase="test")
    auc = trainer.evaluate(test_rows, load_best_model=False)["auc"]

    losses = pair_losses(config, model.eval(), test)
    log_2 = math.log(2) * (1.5 if mode == "both" else 1.0)
    for above in (losses[:, 0] - log_2, losses[:, 0] - losses[:, 1]):
        error = above.std() / math.sqrt(len(above))
        assert 0 < error < 0.02
        assert above.mean() > -3 * error
    assert above.mean() < 3 * error

    clicked = int(test.inter_feat["label"].sum())
    error = math.sqrt((len(test) + 1) / (12 * clicked * (len(test) - clicked)))  # of AUC, if there is nothing
    assert error < 0.02
    assert abs(auc - 0.5) < 3 * error
