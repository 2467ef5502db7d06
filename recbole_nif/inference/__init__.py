"""From a trained run to scores: known and new users, known and new items, one by one or by the million."""

from recbole_nif.inference.scorer import Scorer

__all__ = ["Scorer"]
