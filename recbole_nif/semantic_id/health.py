"""Are the codes of use? How many of a codebook occur, how many IDs collide, what cohorts have in common."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from recbole.utils import FeatureType
from torch import Tensor

from recbole_nif.errors import UserError
from recbole_nif.semantic_id.codes import SemanticIds

COLLAPSED = 0.1  # share of the codes that a level could use, below which its perplexity is called a collapse
MOST_FEATURE_VALUES = 1000  # of a field that cohorts are judged by
logger = logging.getLogger(__name__)


def health_report(ids: SemanticIds, values: Tensor | None, field: str | None, seed: int) -> dict:
    """Plain values for the log and result.json.

    Per level: ``used`` codes, ``perplexity`` and, where there is a field, ``purity``, the share of items that
    carry the most frequent value of their cohort, beside that of the same codes dealt out anew.

    Args:
        ids: IDs with a collision digit.
        values: [n_items, length] int64, the values of a categorical field, 0 = padding; None without one.
        field: its name.
        seed: of the dealing.
    """
    rows = torch.nonzero(ids.has_id).squeeze(1)
    codes = ids.codes[rows]  # [items, N]
    shuffled = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    levels = []
    for level, size in enumerate(ids.sizes[:-1]):
        code = codes[:, level]
        count = torch.bincount(code, minlength=size)
        report = {"size": size, "used": int((count > 0).sum()), "perplexity": perplexity(count)}
        if values is not None:
            report["purity"] = purity(code, values[rows], size)
            report["random_purity"] = purity(code[shuffled], values[rows], size)
        levels.append(report)
    _, group_size = torch.unique(codes[:, :-1], dim=0, return_counts=True)
    return {
        "items": len(rows),
        "levels": levels,
        "distinct": len(group_size),
        "collision_rate": 1 - len(group_size) / len(rows),
        "largest_collision": int(group_size.max()),
        "purity_field": field,
    }


def perplexity(count: Tensor) -> float:
    """exp(entropy) of frequencies [k]: the number of equally frequent values that are as uncertain."""
    share = count[count > 0].double() / count.sum()
    return float(torch.exp(-(share * share.log()).sum()))


def purity(code: Tensor, values: Tensor, size: int) -> float:
    """Share of items that carry their cohort's most frequent value.

    code: [items] in 0..size-1; values: [items, length] int64, 0 = padding; one that stands twice counts once.
    """
    values = values.sort(dim=1).values
    first = F.pad(values[:, 1:] != values[:, :-1], (1, 0), value=True) & (values != 0)
    n_values = int(values.max()) + 1
    pair = (code.unsqueeze(1) * n_values + values)[first]
    per_cohort = torch.bincount(pair, minlength=size * n_values).view(size, n_values)
    return float(per_cohort.max(1).values.sum() / len(code))


def categorical_field(config, dataset) -> str | None:
    """The item field that cohorts are judged by: the scene where it is one, else the one of fewest values."""
    kinds = (FeatureType.TOKEN, FeatureType.TOKEN_SEQ)
    if dataset.item_feat is None:
        return None
    fields = [
        name
        for name in dataset.item_feat.columns
        if name != dataset.iid_field and dataset.field2type[name] in kinds
        and dataset.num(name) <= MOST_FEATURE_VALUES
    ]  # fmt: skip
    scene = config["scene_field"]
    return scene if scene in fields else min(fields, key=dataset.num, default=None)


def values_of(dataset, field: str | None) -> Tensor | None:
    """The values of a categorical item field: [n_items, length] int64, 0 = padding; None without one."""
    return None if field is None else dataset.item_feat[field].reshape(dataset.item_num, -1)


def log_health(facts: Mapping) -> None:
    """A few lines of what ``health_report`` says."""
    report = facts["health"]
    for number, level in enumerate(report["levels"], start=1):
        pure = ""
        if "purity" in level:
            share, by_chance = level["purity"], level["random_purity"]
            pure = f", {report['purity_field']} purity {share:.3f} (random {by_chance:.3f})"
        logger.info(
            "semantic IDs, level %d: %d of %d codes used, perplexity %.1f%s",
            number, level["used"], level["size"], level["perplexity"], pure,
        )  # fmt: skip
    error = report.get("reconstruction_error")
    logger.info(
        "semantic IDs: %d items, %.2f %% share all codes with an earlier one (at most %d together)%s",
        report["items"], 100 * report["collision_rate"], report["largest_collision"],
        "" if error is None else f", reconstruction error {error:.3f} of the variance",
    )  # fmt: skip


def stop_if_collapsed(report: Mapping) -> None:
    """
    Raises:
        UserError: the perplexity of a level is below a tenth of what its size and the items allow.
    """
    for number, level in enumerate(report["levels"], start=1):
        possible = min(level["size"], report["distinct"])
        if level["perplexity"] < COLLAPSED * possible:
            raise UserError(
                f"The codebook of level {number} has collapsed (perplexity {level['perplexity']:.1f} where "
                f"{possible} is possible): lower codebook_size or rqvae_learning_rate, change rqvae_steps, "
                f"give item_text more fields, or use quantizer: kmeans."
            )
