"""Mask areas: the shares of all bins that a mask keeps or removes."""

from __future__ import annotations

AREAS = (0.05, 0.10, 0.20, 0.40)
PRIMARY_AREA = 0.10
CURVE_AREAS = tuple(i / 20 for i in range(21))
