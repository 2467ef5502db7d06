"""Checks of atomic files: which line a message names, and what passes."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_nif.data import validation
from recbole_nif.data.validation import AtomicFile
from recbole_nif.errors import UserError

HEADER = "user_id:token\tprice:float\ttags:float_seq\n"


def write(folder, text, **options) -> AtomicFile:
    path = folder / "toy.inter"
    path.write_text(text, encoding="utf-8", newline="")
    return AtomicFile(path, **options)


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.sampled_from(["a\t1\t", "b\t2.5\t1 2", "\t\t", "é\t3\t", ""]), min_size=1, max_size=30),
    broken=st.sampled_from(["a\t1", "a\t1\t\t", "a"]),
    place=st.integers(0, 30),
    end=st.sampled_from(["\n", "\r\n"]),
    block=st.sampled_from([1, 7, 64, 1 << 20]),
)
def test_the_broken_line_is_named_wherever_blocks_begin(tmp_path_factory, lines, broken, place, end, block):
    folder = tmp_path_factory.mktemp("file")
    lines = ["x\t0\t", *lines]
    before, validation.BLOCK = validation.BLOCK, block
    try:
        write(folder, HEADER + end.join(lines)).check_lines()
        place = min(place, len(lines))
        text = end.join([*lines[:place], broken, *lines[place:]])
        with pytest.raises(
            UserError, match=f"toy.inter, line {place + 2} has {broken.count(chr(9)) + 1} cells"
        ):
            write(folder, HEADER + text).check_lines()
    finally:
        validation.BLOCK = before


def test_a_cell_that_quotation_marks_enclose_may_hold_the_separator(tmp_path):
    write(tmp_path, HEADER + '"a\tb"\t1\t\n').check_lines()
    write(tmp_path, HEADER + 'a "b" c\t1\t\n').check_lines()


def test_a_quotation_mark_that_swallows_lines_is_named_where_it_opens(tmp_path):
    file = write(tmp_path, HEADER + 'a\t1\t\n"b\t2\t\nc\t3\t\n"d\t4\t\n')
    with pytest.raises(UserError, match="line 3 has a quotation mark"):
        file.check_lines()


def test_the_number_that_cannot_be_read_is_named_in_lists_too(tmp_path):
    file = write(tmp_path, HEADER + "a\t1\t1 2\n\nb\tNA\t\nc\t3\t4 five 6\n")
    sentence = str(file.unreadable(ValueError("could not convert")))
    assert "toy.inter, line 5: tags is '4 five 6', where the header promises float_seq" in sentence


def test_missing_cells_are_wrong_in_required_columns_only(tmp_path):
    file = write(tmp_path, HEADER + "a\t1\t\n\n\nb\t\t\n")
    frame = pd.DataFrame({"user_id": ["a", "b"], "price": [1.0, float("nan")]})
    file.check_values(frame, required=["user_id"])
    with pytest.raises(UserError, match="toy.inter, line 5: price is missing"):
        file.check_values(frame, required=["user_id", "price"])


def test_a_message_repeats_the_beginning_of_a_long_cell_only(tmp_path):
    file = write(tmp_path, HEADER + f"a\t{'9' * 10_000}\t\n")
    with pytest.raises(UserError) as error:
        file.check_values(pd.DataFrame({"price": [float("inf")]}), required=[])
    assert len(str(error.value)) < 300 + len(str(tmp_path))
