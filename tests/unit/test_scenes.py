import numpy as np

from recbole_nif.data.scenes import constant_scene, cross_scenes, set_scenes, token_scenes


def test_equal_sets_share_a_number_whatever_the_order_of_their_members():
    vocabulary, sets = set_scenes(np.array([[0, 0, 0], [3, 1, 0], [1, 3, 0], [2, 0, 0]]), 4, 100)
    assert sets[0] == 0 and sets[1] == sets[2] != sets[3]
    assert vocabulary.members[sets[1]].tolist() == [1, 3, 0]
    assert vocabulary.members[0].tolist() == [0, 0, 0]
    assert vocabulary.n_scenes == 4


def test_a_token_is_a_set_of_one():
    vocabulary, sets = token_scenes(np.array([2, 0, 1]), 3, 100)
    assert sets.tolist() == [2, 0, 1]
    assert vocabulary.members[sets].tolist() == [[2], [0], [1]]


def test_a_cross_numbers_observed_pairs_and_keeps_0_for_missing():
    vocabulary, sets = cross_scenes(np.array([1, 1, 2, 0]), np.array([1, 2, 1, 1]), 100)
    assert len(set(sets[:3].tolist())) == 3 and 0 not in sets[:3] and sets[3] == 0
    assert vocabulary.n_scenes == 4


def test_a_cross_without_missing_values_leaves_0_unused():
    _, sets = cross_scenes(np.array([1, 2]), np.array([1, 1]), 100)
    assert sorted(sets.tolist()) == [1, 2]


def test_more_scenes_than_the_hash_size_are_folded():
    vocabulary, sets = token_scenes(np.arange(1001), 1001, 10)
    assert vocabulary.n_scenes == 11
    assert sets[0] == 0 and set(sets[1:].tolist()) == set(range(1, 11))


def test_without_a_field_there_is_one_scene():
    vocabulary, sets = constant_scene(3)
    assert sets.tolist() == [1, 1, 1] and vocabulary.n_scenes == 2
