"""Splits of folds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from xaibench.errors import DataError
from xaibench.sound.dataset import Split


@pytest.mark.parametrize(("fold", "folds"), [(1, ()), (1, (1,)), (1, (1, 2)), (2, (1, 2, 2)), (4, (1, 2, 3))])
def test_too_few_folds_to_train_select_and_test_on_are_refused(fold: int, folds: Sequence[int]) -> None:
    with pytest.raises(DataError, match=f"to test on fold {fold}, .* give its clips three folds or more"):
        Split.testing(fold, folds)


def test_three_folds_are_enough() -> None:
    assert Split.testing(1, (1, 2, 3)) == Split((2,), (3,), (1,))
