"""How a learning rate rises and falls."""

from __future__ import annotations

import math


def warm_up_then_cosine(step: int, warm_up: int, steps: int) -> float:
    """Share of the peak rate at a step from 0: a linear rise over `warm_up` steps under a cosine that ends at 0."""
    return min((step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))
