"""RISE: random smooth masks, and how probable the class is in what each of them leaves."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch
from xaibench.sound.cells import cell_sides

from ._baseline import BASELINES, attributed, probability
from ._captum import INTERNAL_BATCH


class Rise(Explainer):
    title = "RISE"
    family = "perturbation"
    reference = "Petsiuk, Das, Saenko, arXiv 1806.07421"
    description = (
        "probability of the predicted class in what random smooth masks leave of the clip, averaged at each bin over "
        "the masks that leave the bin"
    )
    polarity = "positive"
    forwards_parameter = "masks"
    parameters = {"masks": 500, "cells": (8, 8), "keep": 0.5, "baseline": "silence"}
    choices = {"baseline": BASELINES}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        sides = cell_sides(batch.picture_shape, self.parameters["cells"])
        maps = []
        for i in range(len(batch)):
            clip, generator = batch.slice(i, i + 1), batch.generator(i, "rise")
            of = attributed(classifier, clip, self.parameters["baseline"])
            cells = torch.rand(self.parameters["masks"], *sides, generator=generator) < self.parameters["keep"]
            shifts = torch.rand(self.parameters["masks"], 2, generator=generator)
            total, coverage = torch.zeros_like(clip.x[0]), torch.zeros_like(clip.x[0])
            for some, places in zip(cells.split(INTERNAL_BATCH), shifts.split(INTERNAL_BATCH), strict=True):
                masks = smooth_masks(some.to(total), places, batch.picture_shape)
                found = probability(classifier, of.answers(masks), int(target[i]))
                total += torch.einsum("n,nft->ft", found.to(total), masks)
                coverage += masks.sum(dim=0)
            # The paper divides by the coverage that is expected. The actual one has the same limit, and
            # chance no longer makes a bin important by leaving it often: 240 masks of one draw and of another agree at
            # 0.8, and not at 0.1 to 0.5 (correlation of maps, cnn-micro).
            maps.append(total / coverage.clamp(min=torch.finfo(total.dtype).tiny))
        return Explanation(torch.stack(maps), sides)


def smooth_masks(cells: Tensor, shifts: Tensor, shape: tuple[int, int]) -> Tensor:
    """Draw cells over pictures, with smooth edges and moved by part of a cell: (n, freq, time) in [0, 1].

    They are resized to one cell more than the picture along each side, and cut (section 3.2 of the paper).

    Args:
        cells: 0 or 1, float32 (n, rows, columns).
        shifts: as shares of a cell, from 0 to less than 1, (n, 2).
        shape: (freq, time) of the pictures.
    """
    rows, columns = cells.shape[1:]
    height, width = math.ceil(shape[0] / rows), math.ceil(shape[1] / columns)
    size = ((rows + 1) * height, (columns + 1) * width)
    wide = F.interpolate(cells[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    corners = [(int(down * height), int(right * width)) for down, right in shifts.tolist()]
    return torch.stack([one[d : d + shape[0], r : r + shape[1]] for one, (d, r) in zip(wide, corners, strict=True)])
