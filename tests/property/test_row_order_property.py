import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recbole_nif.data.dataloader import _shuffle_in_groups


@given(
    window=st.lists(st.integers(0, 6), min_size=1, max_size=60).map(np.array),
    size=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_grouped_shuffling_keeps_every_row_once_and_rows_of_a_window_together(window, size, seed):
    order = _shuffle_in_groups(window, size, np.random.default_rng(seed))
    assert sorted(order) == list(range(len(window)))
    # Runs of one window are as few as groups of `size` can be, or fewer where neighbors happen to match.
    runs = 1 + np.count_nonzero(np.diff(window[order]))
    assert runs <= sum(-(-count // size) for count in np.unique(window, return_counts=True)[1])
