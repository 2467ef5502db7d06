"""A tiny AMEN with the defaults of props/model/AMEN.yaml, and batches for both of its stages."""

from pathlib import Path

import torch
import yaml
from recbole.data.interaction import Interaction

from recbole_nif.data import fields
from recbole_nif.model.amen import AMEN
from tests.unit.doubles import FakeDataset, fake_batch, fake_config
from tests.unit.genci_doubles import tiny_ids

PROPS = Path(__file__).parents[2] / "props" / "model" / "AMEN.yaml"
SMALL = {
    "embedding_size": 4,
    "hidden_size": 8,
    "moveline_length": 6,
    "flow_len": 3,
    "attention_mlp_hidden_size": [4],
    "cross_layers": 1,
    "cross_rank": 3,
    "mlp_hidden_size": [8],
    "nce_in_batch": 5,
    "nce_uniform": 3,
}


def tiny_dataset() -> FakeDataset:
    dataset = FakeDataset()
    dataset.clicked_behaviors = torch.tensor([False, False, True])
    dataset.semantic_ids = tiny_ids()
    return dataset


def tiny_amen(seed: int = 0, finetune: bool = True, **overrides) -> AMEN:
    """AMEN in evaluation mode, after ``start_finetune`` unless told otherwise."""
    torch.manual_seed(seed)
    with PROPS.open(encoding="utf-8") as file:
        props = yaml.safe_load(file)
    model = AMEN(fake_config(**(props | SMALL | {"seed": seed} | overrides)), tiny_dataset())
    if finetune:
        model.start_finetune()
    return model.eval()


def tiny_batch() -> Interaction:
    """Three rows: the first two read window 0 up to events 4 and 2, the third has no event in window 1."""
    batch = fake_batch()
    batch.update(
        Interaction(
            {
                fields.MOVELINE_ITEM: torch.tensor([[1, 2, 3, 4, 5, 6], [2, 3, 0, 0, 0, 0]]),
                fields.MOVELINE_SCENE: torch.tensor([[1, 2, 3, 1, 2, 3], [2, 3, 0, 0, 0, 0]]),
                fields.MOVELINE_BEHAVIOR: torch.tensor([[2, 1, 2, 2, 1, 2], [2, 1, 0, 0, 0, 0]]),
                fields.MOVELINE_GAP: torch.tensor([[15, 3, 2, 0, 5, 1], [15, 4, 0, 0, 0, 0]]),
                fields.MOVELINE_START: torch.tensor([10, 30]),
                fields.MOVELINE_ROW: torch.tensor([0, 0, 1]),
                fields.MOVELINE_CUT: torch.tensor([4, 2, 0]),
                fields.ROW_GAP: torch.tensor([1, 7, 0]),
            }
        )
    )
    return batch


def pair_batch() -> Interaction:
    """Rows 0 and 1 of :func:`tiny_batch` as a pair: sample 0 (clicked, event 14), added row 1 (event 12)."""
    batch = tiny_batch()
    batch[fields.ADDED] = torch.tensor([False, True, False])
    batch[fields.PAIR_OF] = torch.tensor([-1, 0, -1])
    batch[fields.TIE_BEGIN] = torch.tensor([14, 12, 30])
    batch[fields.TIE_END] = torch.tensor([15, 13, 31])
    return batch


def window_batch(n_hard: int = 0, n_exposed: int = 2) -> Interaction:
    """Stage 1: two windows, cuts after events 1, 2 and 4 of the first and after event 0 of the second."""
    batch = tiny_batch()
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[0, [1, 2, 4]] = True
    mask[1, 0] = True
    generator = torch.Generator().manual_seed(1)
    target_mask = mask.unsqueeze(-1).repeat(1, 1, 3)
    target_mask[0, 4, 1:] = False  # near the end of the log fewer than K clicks are left
    stage1 = {
        fields.CUT_MASK: mask,
        fields.CUT_GAP: torch.tensor([[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]]),
        fields.TARGET_ITEM: torch.randint(1, 7, (2, 6, 3), generator=generator) * target_mask,
        fields.TARGET_SCENE: torch.randint(1, 4, (2, 6, 3), generator=generator) * target_mask,
        fields.TARGET_MASK: target_mask,
    }
    if n_hard:
        stage1[fields.NEGATIVE_ITEM] = torch.randint(1, 7, (2, 6, n_hard), generator=generator)
        stage1[fields.NEGATIVE_SCENE] = torch.randint(1, 4, (2, 6, n_hard), generator=generator)
        stage1[fields.NEGATIVE_MASK] = mask.unsqueeze(-1).repeat(1, 1, n_hard)
    if n_exposed:
        stage1[fields.EXPOSED_ITEM] = torch.randint(1, 7, (2, 6, n_exposed), generator=generator)
        stage1[fields.EXPOSED_SCENE] = torch.randint(1, 4, (2, 6, n_exposed), generator=generator)
        stage1[fields.EXPOSED_LABEL] = torch.randint(0, 2, (2, 6, n_exposed), generator=generator).float()
        stage1[fields.EXPOSED_MASK] = mask.unsqueeze(-1).repeat(1, 1, n_exposed)
    windows = [name for name in batch.columns if name.startswith("moveline") and len(batch[name]) == 2]
    return Interaction({name: batch[name] for name in windows} | stage1)


def checksum(module: torch.nn.Module) -> float:
    return sum(tensor.double().sum().item() for tensor in module.state_dict().values())


def train_step(model, batch, rate: float = 0.1) -> None:
    optimizer = torch.optim.SGD(model.param_groups(rate, 0.0), lr=rate)
    sum(model.loss_terms(batch).values()).backward()
    optimizer.step()
