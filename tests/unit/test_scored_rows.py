import numpy as np
import pytest

from recbole_nif.errors import UserError
from recbole_nif.evaluation.scored_rows import SCORES_FILE, ScoredRows


def rows(row_id=(7, 2, 5), user=(1, 1, 2), label=(1.0, 0.0, 1.0), score=(0.75, 0.5, 0.25)):
    return ScoredRows.ordered(*map(np.array, (row_id, user, label, score)))


def test_rows_are_in_the_order_of_their_ids_however_they_came():
    ordered = rows()
    assert ordered.row_id.tolist() == [2, 5, 7]
    assert ordered.user.tolist() == [1, 2, 1]
    assert ordered.label.tolist() == [0, 1, 1]
    assert ordered.score.tolist() == [0.5, 0.25, 0.75]


def test_a_row_that_two_processes_scored_is_an_error():
    with pytest.raises(RuntimeError, match="scored twice"):
        rows(row_id=(7, 2, 7))


def test_the_file_gives_the_rows_back_in_small_types_and_leaves_nothing_beside_it(tmp_path):
    rows().save(tmp_path / SCORES_FILE)
    read = ScoredRows.load(tmp_path / SCORES_FILE)
    assert [path.name for path in tmp_path.iterdir()] == [SCORES_FILE]
    assert [getattr(read, name).dtype for name in ("row_id", "user", "label", "score")] == [
        np.int32, np.int32, np.int8, np.float32,
    ]  # fmt: skip
    assert read.same_rows(rows()) and read.score.tolist() == [0.5, 0.25, 0.75]


def test_ids_beyond_32_bits_are_kept(tmp_path):
    rows(row_id=(2**31, 2, 5)).save(tmp_path / SCORES_FILE)
    assert ScoredRows.load(tmp_path / SCORES_FILE).row_id.tolist() == [2, 5, 2**31]


@pytest.mark.parametrize(
    "other", [{"row_id": (7, 2, 6)}, {"user": (1, 2, 2)}, {"label": (1.0, 1.0, 1.0)}, {"row_id": (7, 5, 2)}]
)
def test_other_rows_users_or_labels_are_not_the_same_rows(other):
    assert rows().same_rows(rows(score=(0.1, 0.2, 0.3)))
    assert not rows().same_rows(rows(**other))


def test_a_missing_file_and_a_file_of_something_else_are_told_apart(tmp_path):
    path = tmp_path / SCORES_FILE
    with pytest.raises(UserError, match="is missing: run the model again"):
        ScoredRows.load(path)
    np.savez(path, row_id=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="does not hold the scores of a run"):
        ScoredRows.load(path)
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(UserError, match="does not hold the scores of a run"):
        ScoredRows.load(path)
