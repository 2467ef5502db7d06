"""Steps of sequences that share windows, against a copy of its window for every sequence."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_nif.model.layers.recurrent import Steps


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_step_reads_its_own_place_of_its_sequences_window(data):
    n_rows, n_steps, n_windows = (data.draw(st.integers(1, most)) for most in (6, 5, 4))
    bits = data.draw(st.lists(st.booleans(), min_size=n_rows * n_steps, max_size=n_rows * n_steps))
    window = data.draw(st.lists(st.integers(0, n_windows - 1), min_size=n_rows, max_size=n_rows))
    mask, window = torch.tensor(bits).view(n_rows, n_steps), torch.tensor(window)
    steps = Steps.of(mask, skip_padding=data.draw(st.booleans()))
    windows = torch.arange(n_windows * n_steps).view(n_windows, n_steps)
    assert windows.flatten()[steps.places(window)].equal(steps.pack(windows[window]))
