"""Semantic IDs: the collision digit, tokens, and the file in and out."""

import json

import pytest
import torch

from recbole_nif.errors import UserError
from recbole_nif.semantic_id.codes import SemanticIds, order_among_equals

TOKENS = ["[PAD]", "a", "b", "c", "d"]
FILE = {"a": [3, 0, 1], "b": [3, 0, 2], "c": [0, 2, 1], "d": [1, 1, 1]}


def write(folder, content):
    path = folder / "toy.sem_ids.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def with_digit(rows, sizes=(4, 3), digits=2):
    return SemanticIds.with_digit(torch.tensor([[-1, -1], *rows]), sizes, digits)


def test_the_order_among_equals_counts_earlier_equal_values():
    values = torch.tensor([12, 5, 12, 13, 12, 5])
    assert order_among_equals(values).tolist() == [0, 0, 1, 0, 2, 1]


def test_the_digit_tells_items_of_equal_codes_apart_and_the_padding_item_has_no_id():
    ids = with_digit([[3, 0], [0, 2], [3, 0], [-1, -1]])
    assert ids.codes.tolist() == [[-1, -1, -1], [3, 0, 0], [0, 2, 0], [3, 0, 1], [-1, -1, -1]]
    assert ids.sizes == (4, 3, 2)
    assert ids.has_id.tolist() == [False, True, True, True, False]


def test_each_level_has_its_own_tokens_and_zero_is_no_code():
    ids = with_digit([[3, 0], [0, 2], [3, 0], [-1, -1]])
    assert ids.n_tokens == 1 + 4 + 3 + 2
    assert ids.tokens.tolist() == [[0, 0, 0], [4, 5, 8], [1, 7, 8], [4, 5, 9], [0, 0, 0]]


def test_new_items_get_the_next_digits_and_the_present_ones_keep_their_ids():
    ids = with_digit([[3, 0], [0, 2]], digits=3)
    more = ids.add_items(torch.tensor([[3, 0], [1, 1], [3, 0]]))
    assert more.codes[:3].tolist() == ids.codes.tolist()
    assert more.codes[3:].tolist() == [[3, 0, 1], [1, 1, 0], [3, 0, 2]]


def test_digits_of_a_file_need_not_begin_at_0_for_new_items_to_get_free_ones(tmp_path):
    ids = SemanticIds.read(write(tmp_path, FILE), TOKENS)  # [3, 0] has the digits 1 and 2
    more = ids.add_items(torch.tensor([[3, 0], [3, 0], [2, 2]]))
    assert more.codes[5:].tolist() == [[3, 0, 3], [3, 0, 4], [2, 2, 0]]


def test_more_equal_items_than_digits_is_the_users_mistake():
    with pytest.raises(UserError, match="3 items share all of their codes.* only 2 apart"):
        with_digit([[3, 0], [3, 0], [3, 0]])


def test_codes_for_the_padding_item_are_refused():
    with pytest.raises(ValueError, match="padding"):
        SemanticIds.with_digit(torch.zeros(2, 2, dtype=torch.long), (4, 3))


# --- files


def test_a_file_is_read_in_the_order_of_the_datasets_items(tmp_path):
    ids = SemanticIds.read(write(tmp_path, FILE), ["[PAD]", "d", "a", "c", "b"])
    assert ids.codes.tolist() == [[-1, -1, -1], [1, 1, 1], [3, 0, 1], [0, 2, 1], [3, 0, 2]]
    assert ids.sizes == (256, 256, 256)


def test_codes_beyond_the_size_are_counted_from_the_smallest_of_their_level(tmp_path):
    offset = {token: [256 + a, 512 + b, 1 + 255 * digit] for token, (a, b, digit) in FILE.items()}
    ids = SemanticIds.read(write(tmp_path, offset), TOKENS)  # third level: 256 and 511
    assert ids.codes[1:].tolist() == [[3, 0, 0], [3, 0, 255], [0, 2, 0], [1, 1, 0]]


def test_a_level_is_as_wide_as_its_codes_where_they_exceed_the_size(tmp_path):
    ids = SemanticIds.read(write(tmp_path, FILE), TOKENS, size=2, digits=2)
    assert ids.codes[1:].tolist() == [[3, 0, 0], [3, 0, 1], [0, 2, 0], [1, 1, 0]]
    assert ids.sizes == (4, 3, 2)


def test_what_was_written_is_read_as_it_was(tmp_path):
    ids = with_digit([[3, 1], [0, 2], [3, 1], [2, 2]])
    ids.write(tmp_path / "out.sem_ids.json", TOKENS)
    read = SemanticIds.read(tmp_path / "out.sem_ids.json", TOKENS, size=4, digits=2)
    assert torch.equal(read.codes, ids.codes)
    assert read.sizes == (4, 4, 2)  # the digit has its own least size
    assert json.loads((tmp_path / "out.sem_ids.json").read_text())["c"] == [3, 1, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["out.sem_ids.json"]


def test_items_that_only_the_file_knows_are_told(tmp_path, caplog):
    ids = SemanticIds.read(write(tmp_path, FILE), ["[PAD]", "a", "b"])
    assert len(ids.codes) == 3
    assert "2 items ('c', 'd') that the dataset has not" in caplog.text
    assert ids.facts == {"source": "toy.sem_ids.json", "items_of_the_file_only": 2, "items_added": 0}


def test_items_that_the_file_lacks_are_encoded_and_get_digits_that_nobody_in_it_has(tmp_path):
    asked = []

    def encode(rows, levels):
        asked.append((rows, levels))
        return torch.tensor([[1, 1], [3, 0], [3, 0]])

    # the dataset has neither b nor d, whose IDs stay theirs; its own order of items is another one
    ids = SemanticIds.read(write(tmp_path, FILE), ["[PAD]", "x", "c", "y", "a", "z"], encode=encode)
    assert asked == [([1, 3, 5], 2)]
    assert ids.codes.tolist() == [[-1] * 3, [1, 1, 2], [0, 2, 1], [3, 0, 3], [3, 0, 1], [3, 0, 4]]
    assert (ids.facts["items_added"], ids.facts["items_of_the_file_only"]) == (3, 2)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[1, 2]", "is not a JSON object"),
        ("{}", "is not a JSON object"),
        ("{'a': [1, 2]}", "is not a JSON object"),
        (FILE | {"b": [3, 0]}, "item 'b' has 2 codes, but most items have 3"),
        ({"a": [1], "b": [2]}, "items have 1 codes, but need at least 2"),
        (FILE | {"b": [3, 0, 1]}, r"items 'a' and 'b' have the same codes \[3, 0, 1\]"),
        (FILE | {"b": [3, 0, -1]}, "the codes of item 'b' are not a list of whole numbers"),
        (FILE | {"b": [3, 0, True]}, "the codes of item 'b' are not a list of whole numbers"),
        (FILE | {"b": "302"}, "the codes of item 'b' are not a list of whole numbers"),
        ('{"a": [1, 2], "a": [3, 4]}', "names item 'a' twice"),
    ],
)
def test_a_wrong_file_ends_in_one_sentence(tmp_path, content, sentence):
    with pytest.raises(UserError, match=f"toy.sem_ids.json.*{sentence}"):
        SemanticIds.read(write(tmp_path, content), TOKENS)


def test_a_missing_file_ends_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match="Cannot read semantic_ids .*none.json: No such file"):
        SemanticIds.read(tmp_path / "none.json", TOKENS)


def test_items_that_the_file_lacks_are_listed_and_the_other_direction_too(tmp_path):
    path = write(tmp_path, FILE)
    with pytest.raises(UserError, match=r"lacks 1 items \('z'\) of the dataset, and names 1 items \('d'\)"):
        SemanticIds.read(path, ["[PAD]", "a", "b", "c", "z"])
    with pytest.raises(UserError, match=r"lacks 7 items \('m0', 'm1', 'm2', 'm3', 'm4', …\) of the dataset:"):
        SemanticIds.read(path, [*TOKENS, *(f"m{n}" for n in range(7))])


def test_a_file_of_another_kind_of_item_token_shows_one_of_each(tmp_path):
    with pytest.raises(UserError, match="knows none of .* items such as 'a', the dataset such as '17'"):
        SemanticIds.read(write(tmp_path, FILE), ["[PAD]", "17", "42"])
