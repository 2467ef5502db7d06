"""What AMEN and GenCI offer as candidates, against what they generate."""

import pytest
import torch

from recbole_nif.errors import UserError
from recbole_nif.model.genci.codebook import cohort_numbers
from recbole_nif.model.layers.sphere import unit
from tests.unit.amen_doubles import tiny_amen, tiny_batch
from tests.unit.genci_doubles import CODES, history_batch, tiny_genci
from tests.unit.test_din import make_din


def test_amens_candidates_are_near_to_any_vector_of_the_flow():
    model, batch = tiny_amen(), tiny_batch()
    scores = model.candidate_scores(batch)
    flow, items = unit(model.generator.flow(batch)), model.generator.item_table()
    assert scores.shape == (3, 7)
    assert scores[1, 5].item() == pytest.approx(max((flow[1] @ items[5]).tolist()), abs=1e-6)


def test_models_that_generate_nothing_have_no_candidates():
    assert tiny_amen(use_nif=False).candidate_scores(tiny_batch()) is None
    assert make_din().candidate_scores(tiny_batch()) is None


@pytest.mark.parametrize("decoding", ["trie", "free"])
def test_gencis_candidates_score_as_the_beam_of_their_codes(decoding):
    model, batch = tiny_genci(decoding=decoding), history_batch()
    scores, found = model.candidate_scores(batch), model.generated(batch, 3, n_beams=500)
    beams = [
        {tuple(codes): score for codes, score in zip(*pair, strict=True)}
        for pair in zip(found.codes.tolist(), found.score.tolist(), strict=True)
    ]
    for row, history in enumerate([0, 1, 1, 2]):
        assert scores[row, 0] == float("-inf")  # the padding item
        for item in range(1, 7):
            assert scores[row, item].item() == pytest.approx(beams[history][tuple(CODES[item, :3].tolist())])


def test_items_of_one_cohort_have_one_score_and_dead_beams_none():
    scores = tiny_genci().candidate_scores(history_batch())
    assert torch.equal(scores[:, 1], scores[:, 2])  # they differ by the digit
    assert scores[:, 1:].isfinite().all()  # all codes are beams, and no dead one took their place


def test_sequences_of_codes_have_numbers_of_their_own():
    codes = torch.cartesian_prod(torch.arange(-1, 3), torch.arange(-1, 2), torch.arange(-1, 4))
    assert len(cohort_numbers(codes, (3, 2, 4)).unique()) == 4 * 3 * 5
    last = torch.tensor([[255] * 7, [255] * 6 + [254]])
    assert len(cohort_numbers(last, [256] * 7).unique()) == 2  # 257^7 fits into 63 bits
    with pytest.raises(UserError, match=r"of 8 levels with 256 codes .* use fewer code_levels"):
        cohort_numbers(torch.zeros(1, 8, dtype=torch.long), [256] * 8)
