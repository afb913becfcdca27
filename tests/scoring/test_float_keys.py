"""Keys sort as their values do, and what travels behind comes back."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xaibench.scoring.float_keys import ascending, behind_of, keys_of, values_of

VALUES = st.lists(
    st.one_of(
        st.sampled_from([0.0, -0.0, 1e-45, 1.1754944e-38, 0.5, 3.4028234663852886e38]),
        st.floats(0, 3.4028234663852886e38, width=32),
    ),
    min_size=12,
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(values=VALUES)
def test_the_order_is_that_of_values_then_of_what_is_behind(values: list[float]) -> None:
    given_values = torch.tensor(values).view(2, 6)
    behind = torch.tensor([5, 0, 2**32 - 1, 3, 1, 4])
    keys = ascending(keys_of(given_values, behind))
    for row, sorted_row in zip(given_values.numpy(), keys, strict=True):
        order = np.lexsort((behind.numpy(), row))
        assert behind_of(sorted_row).tolist() == behind[torch.from_numpy(order)].tolist()
        assert values_of(sorted_row).tolist() == row[order].tolist()


def test_rows_may_have_numbers_of_their_own() -> None:
    keys = ascending(keys_of(torch.ones(2, 3), torch.tensor([[2, 1, 0], [0, 2, 1]])))
    assert behind_of(keys).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert values_of(keys).tolist() == torch.ones(2, 3).tolist()
