"""Trees and cohorts of drawn IDs against slow references."""

from unittest.mock import patch

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_nif.semantic_id import trie
from recbole_nif.semantic_id.codes import NO_CODE, SemanticIds
from recbole_nif.semantic_id.trie import Cohorts, PrefixTrie


@st.composite
def semantic_ids(draw) -> SemanticIds:
    """Up to 30 items, of which some have no ID, with one to three levels and a digit."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    row = st.one_of(st.tuples(*(st.integers(0, size - 1) for size in sizes)), st.none())
    rows = draw(st.lists(row, min_size=1, max_size=30).filter(any))
    codes = [[NO_CODE] * len(sizes), *([NO_CODE] * len(sizes) if row is None else row for row in rows)]
    return SemanticIds.with_digit(torch.tensor(codes), sizes, digits=draw(st.integers(30, 40)))


@settings(max_examples=150, deadline=None)
@given(semantic_ids(), st.randoms(use_true_random=False))
def test_every_path_along_allowed_codes_ends_in_the_item_of_that_id(ids, random):
    trie = PrefixTrie.build(ids)
    node, path = torch.tensor([trie.root]), []
    for level in range(len(ids.sizes)):
        following, allowed = trie.children(node, level)
        assert allowed.shape == (1, ids.sizes[level])
        choices = torch.nonzero(allowed[0]).squeeze(1).tolist()
        assert choices  # no path ends early
        path.append(random.choice(choices))
        node = following[:, path[-1]]
    item = int(trie.item_of(node))
    assert item > 0 and ids.codes[item].tolist() == path


@settings(max_examples=150, deadline=None)
@given(semantic_ids())
def test_every_item_with_an_id_is_reached_by_its_codes_and_nothing_else_exists(ids):
    trie = PrefixTrie.build(ids)
    items = torch.nonzero(ids.has_id).squeeze(1)
    node = torch.full_like(items, trie.root)
    for level, codes in enumerate(ids.codes[items].unbind(1)):
        following, allowed = trie.children(node, level)  # [items, size]
        prefixes = ids.codes[items, :level]
        for place in range(len(items)):
            same = (ids.codes[items][:, :level] == prefixes[place]).all(1)
            assert torch.nonzero(allowed[place]).squeeze(1).tolist() == codes[same].unique().tolist()
        node = following.gather(1, codes[:, None]).squeeze(1)
    assert torch.equal(trie.item_of(node), items)
    assert sorted(trie.item[trie.item > 0].tolist()) == items.tolist()


@settings(max_examples=150, deadline=None)
@given(semantic_ids(), st.data())
def test_cohort_means_equal_a_slow_reference(ids, data):
    table = torch.arange(2.0 * len(ids.codes)).view(-1, 2) ** 1.5
    rows = data.draw(
        st.lists(
            st.tuples(*(st.integers(NO_CODE, size - 1) for size in ids.sizes[:-1])), min_size=1, max_size=6
        )
    )
    cohorts = Cohorts.build(ids)
    largest = int(cohorts.count.max())
    means = cohorts.mean(table, torch.tensor(rows))
    padded = cohorts.mean(table, torch.tensor(rows), over="padded")
    with patch.object(trie, "FEW", 0), torch.no_grad():  # as for a few codes of many
        assert torch.equal(cohorts.mean(table, torch.tensor(rows)), means)
    for place, row in enumerate(rows):
        for level, code in enumerate(row):
            members = [item for item in range(len(table)) if code >= 0 and ids.codes[item, level] == code]
            total = sum((table[item] for item in members), torch.zeros(2))
            assert torch.allclose(means[place, level], total / max(1, len(members)))
            assert torch.allclose(padded[place, level], total / largest)


@settings(max_examples=100, deadline=None)
@given(semantic_ids(), st.integers(0, 10))
def test_items_added_in_two_steps_get_the_ids_of_one_step(ids, n_first):
    first = SemanticIds.with_digit(ids.codes[: n_first + 1, :-1], ids.sizes[:-1], ids.sizes[-1])
    assert torch.equal(first.add_items(ids.codes[n_first + 1 :, :-1]).codes, ids.codes)
    existing = ids.codes[ids.has_id].tolist()
    assert len(set(map(tuple, existing))) == len(existing)
