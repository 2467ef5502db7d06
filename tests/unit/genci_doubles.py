"""A tiny GenCI with the defaults of props/model/GenCI.yaml, hand-made semantic IDs and a batch."""

from pathlib import Path

import torch
import yaml
from recbole.config import Config
from recbole.data.interaction import Interaction

from recbole_nif.data import fields
from recbole_nif.model.genci import GenCI
from recbole_nif.semantic_id.codes import SemanticIds
from tests.unit.doubles import FakeDataset, fake_batch, fake_config

PROPS = Path(__file__).parents[2] / "props" / "model" / "GenCI.yaml"
SMALL = {
    "embedding_size": 4,
    "hidden_size": 8,
    "head_size": 4,
    "inner_size": 8,
    "n_heads": 2,
    "mlp_hidden_size": [8],
    "teacher_mlp_hidden_size": [8],
    "history": "clicks",
}
# Items 1 to 6; 1, 2 and 3 share their first code, 1 and 2 all codes but the digit. Level sizes 2, 3, 3, 2.
CODES = torch.tensor(
    [
        [-1, -1, -1, -1],
        [0, 1, 2, 0],
        [0, 1, 2, 1],
        [0, 2, 0, 0],
        [1, 0, 0, 0],
        [1, 0, 1, 0],
        [1, 2, 1, 0],
    ]
)
SIZES = (2, 3, 3, 2)


def tiny_ids(codes: torch.Tensor = CODES, sizes=SIZES) -> SemanticIds:
    return SemanticIds(codes=codes, sizes=sizes)


def tiny_genci(seed: int = 0, ids: SemanticIds | None = None, **overrides) -> GenCI:
    """GenCI in evaluation mode."""
    Config.compatibility_settings(None)  # numpy aliases for the teacher, RecBole's DeepFM
    torch.manual_seed(seed)
    with PROPS.open(encoding="utf-8") as file:
        props = yaml.safe_load(file)
    dataset = FakeDataset()
    dataset.semantic_ids = ids or tiny_ids()
    return GenCI(fake_config(**(props | SMALL | overrides)), dataset).eval()


def history_batch(encode: str = "packed", labels: bool = False) -> Interaction:
    """Four rows with histories (1 2 3 4), (1 2), (1 2) and (): as prefixes of one window, or one by one."""
    batch = fake_batch()
    rows = torch.tensor([0, 0, 1, 2])
    batch = Interaction({name: batch[name][rows] for name in batch.columns if not name.endswith("_list")})
    batch["item_id"] = torch.tensor([5, 3, 6, 1])
    batch.update(FakeDataset().get_item_feature()[batch["item_id"]])
    batch["label"] = torch.tensor([1.0, 0.0, 1.0, 1.0])
    windows = {
        "packed": [[1, 2, 3, 4], [0, 0, 0, 0]],
        "window": [[1, 2, 3, 4], [1, 2, 0, 0], [0, 0, 0, 0]],
    }
    own = {"packed": [0, 0, 1], "window": [0, 1, 2]}
    shared = {
        fields.HISTORY_ITEM: torch.tensor(windows[encode]),
        fields.HISTORY_WINDOW: torch.tensor(own[encode]),
        fields.HISTORY_CUT: torch.tensor([4, 2, 0]),
        fields.HISTORY_OF: torch.tensor([0, 1, 1, 2]),
    }
    if labels:
        shared[fields.HISTORY_LABEL] = (shared[fields.HISTORY_ITEM] + 1) % 2 + 1
        shared[fields.HISTORY_LABEL] *= shared[fields.HISTORY_ITEM] > 0
    batch.update(Interaction(shared))
    return batch
