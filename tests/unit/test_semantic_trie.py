"""The tree of existing IDs and the cohorts, on five items by hand."""

import pytest
import torch

from recbole_nif.semantic_id.codes import SemanticIds
from recbole_nif.semantic_id.trie import Cohorts, PrefixTrie

CODES = [[2, 1, 0], [0, 2, 0], [2, 1, 1], [2, 0, 0], [-1, -1, -1]]  # of items 1 to 5; item 5 has none


@pytest.fixture
def ids():
    return SemanticIds(torch.tensor([[-1, -1, -1], *CODES]), (3, 3, 2))


def test_nodes_are_numbered_level_by_level_and_by_code(ids):
    trie = PrefixTrie.build(ids)
    assert trie.code.tolist() == [-1, 0, 2, 2, 0, 1, 0, 0, 0, 1]  # root; 0, 2; 0-2, 2-0, 2-1; four leaves
    assert trie.first_child[:6].tolist() == [1, 3, 4, 6, 7, 8]
    assert trie.n_children.tolist() == [2, 1, 2, 1, 1, 2, 0, 0, 0, 0]
    assert trie.item.tolist() == [0, 0, 0, 0, 0, 0, 2, 4, 1, 3]


def test_children_say_where_each_code_leads_and_which_codes_exist(ids):
    trie = PrefixTrie.build(ids)
    following, allowed = trie.children(torch.tensor([[trie.root]]), level=0)
    assert following.tolist() == [[[1, 0, 2]]] and allowed.tolist() == [[[True, False, True]]]
    following, allowed = trie.children(torch.tensor([2, 1]), level=1)
    assert following.tolist() == [[4, 5, 0], [0, 0, 3]]
    assert allowed.tolist() == [[True, True, False], [False, False, True]]
    following, _ = trie.children(torch.tensor([5, 3]), level=2)
    assert following.tolist() == [[8, 9], [6, 0]]
    assert trie.item_of(following).tolist() == [[1, 3], [2, 0]]


def test_cohorts_list_the_items_that_share_a_code_of_a_level(ids):
    cohorts = Cohorts.build(ids)
    assert cohorts.count.tolist() == [1, 0, 3, 1, 2, 1]
    assert cohorts.items.tolist() == [2, 1, 3, 4, 4, 1, 3, 2]
    assert cohorts.offsets.tolist() == [0, 1, 1, 4, 5, 7, 8]


def test_the_mean_of_a_cohort_divides_by_its_own_size_or_by_the_largest(ids):
    table = torch.tensor([[100.0, 0.0], [1.0, 0.0], [2.0, 0.0], [4.0, 3.0], [7.0, 9.0], [50.0, 0.0]])
    codes = torch.tensor([[2, 1], [1, 2], [-1, 0]])
    cohorts = Cohorts.build(ids)
    means = cohorts.mean(table, codes)
    assert means.tolist() == [[[4, 4], [2.5, 1.5]], [[0, 0], [2, 0]], [[0, 0], [7, 9]]]
    padded = cohorts.mean(table, codes, over="padded")
    assert torch.allclose(padded[0], torch.tensor([[4.0, 4.0], [5 / 3, 1.0]]))
    assert padded[1].tolist() == [[0, 0], pytest.approx([2 / 3, 0])]


def test_the_gradient_of_a_mean_is_shared_among_the_cohorts_items(ids):
    table = torch.ones(6, 1, requires_grad=True)
    Cohorts.build(ids).mean(table, torch.tensor([[2, 2]])).sum().backward()
    assert table.grad.squeeze(1).tolist() == pytest.approx([0, 1 / 3, 1, 1 / 3, 1 / 3, 0])


def test_all_tensors_move_to_a_device_together(ids):
    trie, cohorts = PrefixTrie.build(ids).to("meta"), Cohorts.build(ids).to("meta")
    tensors = [value for value in (*vars(trie).values(), *vars(cohorts).values()) if torch.is_tensor(value)]
    assert len(tensors) == 8 and all(value.is_meta for value in tensors)
    assert trie.sizes == (3, 3, 2)
