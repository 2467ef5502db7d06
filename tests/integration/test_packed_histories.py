"""NIFDIEN on toy data: histories that rows share against histories of their own."""

import pytest
import torch

from recbole_nif.data import fields
from recbole_nif.data.dataset import CTRDataset
from tests.toy import ROWS, toy_config, write_toy

EVERY_ROW = torch.arange(len(ROWS))


def view_and_model(folder, **overrides):
    config = toy_config(folder, "NIFDIEN", **overrides)
    view = CTRDataset(config).build()[0]
    torch.manual_seed(0)
    model = config.model_class(config, view).eval()
    for parameter in model.parameters():  # away from zero initializations, which would hide differences
        torch.nn.init.normal_(parameter, std=0.3)
    return view, model


@pytest.mark.parametrize(
    "overrides", [{}, {"history": "all_with_label", "history_scene": True}, {"attention_type": "mlp"}]
)
def test_where_a_window_holds_the_whole_history_packed_rows_score_as_rows_alone(tmp_path, overrides):
    write_toy(tmp_path)
    scores = {}
    for encode in ("window", "packed"):
        view, model = view_and_model(tmp_path, encode=encode, **overrides)
        batch = view.read(EVERY_ROW)
        assert (fields.HISTORY_ITEM in batch) == (encode == "packed") != ("item_id_list" in batch)
        scores[encode] = model.predict(batch)
    assert torch.allclose(scores["packed"], scores["window"], atol=1e-5)


def test_a_packed_row_scores_alone_as_among_all_rows(tmp_path):
    write_toy(tmp_path)
    view, model = view_and_model(tmp_path, MAX_ITEM_LIST_LENGTH=4, history="all")
    together = model.predict(view.read(EVERY_ROW))
    alone = torch.cat([model.predict(view.read(EVERY_ROW[row : row + 1])) for row in EVERY_ROW])
    assert torch.allclose(alone, together, atol=1e-5)
