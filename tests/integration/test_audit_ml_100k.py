"""Every model passes the leak tests on the real ml-100k, and the facts of the log are the known ones."""

import pytest
import torch

from recbole_nif.audit import command
from recbole_nif.audit.data import Share, dataset_facts
from recbole_nif.audit.leaks import audit_model
from recbole_nif.config import NIFConfig
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.errors import UserError
from recbole_nif.evaluation.scoring import evaluate_item_rate, evaluate_item_user_recent
from recbole_nif.registry import MODELS

WITHOUT_HISTORY = ("LR", "DeepFM", "DCNV2")
SMALL = {"MAX_ITEM_LIST_LENGTH": 10, "moveline_length": 20, "moveline_stride": 10, "hidden_size": 16}
IDS = {"text_encoder": "features", "quantizer": "kmeans"}  # no network
RUNS = [
    *(
        (name, IDS if name == "GenCI" else {})
        for name in (*WITHOUT_HISTORY, "recbole.DIN", "recbole.DIEN", *MODELS)
    ),
    ("NIFDIN", {"history": "all_with_label", "history_scene": True}),
    ("GenCI", {**IDS, "encode": "window", "encoder_input": "tokens", "history": "all_with_label"}),
    ("AMEN", {"history": "clicks", "moveline_with_items": False}),
    ("AMEN", {**IDS, "flow_targets": "semantic"}),
]


def build(model, **overrides):
    settings = {"device": "cpu", "show_progress": False, **SMALL, **overrides}
    config = NIFConfig(model, "ml-100k", config_dict=settings)
    return config, CTRDataset(config).build()


@torch.no_grad()
def draw_weights(model):
    """Random weights, nowhere zero and large enough that no input fades on its way to the score.

    A cross network's are small: it would multiply large numbers until every score is 0 or 1.
    """
    for name, parameter in model.named_parameters():
        if "cross" in name:
            parameter.mul_(0.1)
        else:
            std = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.1
            parameter.add_(torch.randn_like(parameter), alpha=std)


@pytest.mark.parametrize(("name", "overrides"), RUNS)
def test_no_score_moves_with_its_own_label_or_later_events(name, overrides):
    config, views = build(name, **overrides)
    torch.manual_seed(0)
    model = config.model_class(config, views[0])
    draw_weights(model)
    report = audit_model(config, model, views, passes=1)
    own, later, earlier = report.score_tests
    assert report.leaks == []
    assert (own.rows, later.rows) == (943, 943)
    assert own.events == 943 and later.events > 1000
    assert (earlier.moved > 500) == (name not in WITHOUT_HISTORY)


def test_the_facts_of_ml_100k():
    config, views = build("LR")
    facts = {fact.key: fact.value for fact in dataset_facts(views)}
    assert facts["tied_neighbors"] == Share(32240, 71912)  # counted with pandas, 3 stars left out
    assert facts["cut_tie_groups"].count == 764
    assert facts["cut_tie_users"] == Share(613, 943)
    assert facts["label_inside_ties"].value > 0.4 > 0.3 > facts["label_across_ties"].value
    item_rate = evaluate_item_rate(views[0], views[2], config).auc
    assert 0.75 < item_rate < evaluate_item_user_recent(*views, config).auc


def test_a_split_without_test_rows_is_told():
    with pytest.raises(UserError, match="The test split is empty: audit another one than eval_args.split"):
        command.main(["ml-100k", "--eval_args.split={LS: valid_only}"])
