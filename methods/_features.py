"""What a classifier's feature map shows while it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.capabilities import FeatureMapped


@contextmanager
def seen_maps(classifier: Classifier) -> Iterator[list[Tensor]]:
    """Collect the feature maps (batch, channels, h, w) of every pass inside `with`."""
    seen: list[Tensor] = []
    hook = cast(FeatureMapped, classifier).feature_maps.register_forward_hook(
        lambda module, args, out: seen.append(out)
    )
    try:
        yield seen
    finally:
        hook.remove()
