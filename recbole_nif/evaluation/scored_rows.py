"""What a model said of every row of a split: the arrays that the metrics are made of, and their file.

Two runs on the same data and split have the same row ids, so that their files can be compared row by row.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbole_nif.errors import UserError
from recbole_nif.files import written_whole

SCORES_FILE = "test_scores.npz"  # in a run's folder


@dataclass(frozen=True)
class ScoredRows:
    """Rows and the click probabilities that a model gave them, by ascending row id; arrays [N].

    Attributes:
        row_id: the row's number in the dataset before any ordering (``fields.ROW_ID``).
        user: internal user ids.
        label: 0 or 1.
        score: click probabilities.
    """

    row_id: np.ndarray
    user: np.ndarray
    label: np.ndarray
    score: np.ndarray

    @classmethod
    def ordered(
        cls, row_id: np.ndarray, user: np.ndarray, label: np.ndarray, score: np.ndarray
    ) -> "ScoredRows":
        """The rows in order, however they were batched or shared among processes.

        Raises:
            RuntimeError: a row comes twice.
        """
        order = np.argsort(row_id)
        row_id = row_id[order]
        if (row_id[1:] == row_id[:-1]).any():
            raise RuntimeError("a row was scored twice: the loader's shares of the processes overlap")
        return cls(row_id, user[order], label[order], score[order])

    def save(self, path: Path) -> None:
        """Writes all rows or nothing: ids int32 where they fit, labels int8, scores float32."""
        with written_whole(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(
                file,
                row_id=_small(self.row_id),
                user=_small(self.user),
                label=self.label.astype(np.int8),
                score=self.score.astype(np.float32),
            )

    @classmethod
    def load(cls, path: Path) -> "ScoredRows":
        """Reads what ``save`` wrote.

        Raises:
            UserError: there is no such file, or it holds something else.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(*(arrays[name] for name in ("row_id", "user", "label", "score")))
        except FileNotFoundError:
            raise UserError(f"{path} is missing: run the model again, or copy its whole folder.") from None
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
            raise UserError(f"{path} does not hold the scores of a run: run the model again.") from None

    def same_rows(self, other: "ScoredRows") -> bool:
        """Whether both are of the same rows, users and labels, so that they can be compared row by row."""
        mine, theirs = (self.row_id, self.user, self.label), (other.row_id, other.user, other.label)
        return all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


def _small(ids: np.ndarray) -> np.ndarray:
    fits = not len(ids) or ids.max() <= np.iinfo(np.int32).max
    return ids.astype(np.int32 if fits else np.int64)
