"""From the spectrogram's grid to the image and back."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from xaibench.classifiers.front_end import FrontEnd, LinearResize, MelResize
from xaibench.sound.audio import PICTURE_SHAPE, SAMPLE_RATE

SIZES = [(128, 128), (64, 432), (37, 53), (224, 224)]
KINDS = [LinearResize, MelResize]


def mel(hertz: float) -> float:
    """The HTK mel scale, O'Shaughnessy 1987."""
    return 2595 * math.log10(1 + hertz / 700)


def hertz(value: float) -> float:
    """Frequency of a mel value."""
    return 700 * (10 ** (value / 2595) - 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_shapes_and_constants(kind: type[FrontEnd], size: tuple[int, int]) -> None:
    front_end = kind(size)
    image = front_end(torch.full((2, *PICTURE_SHAPE), 0.7))
    assert image.shape == (2, 1, *size)
    torch.testing.assert_close(image, torch.full_like(image, 0.7), rtol=0, atol=1e-5)
    for shape in [(1, 1), (7, 5), (8, 16), size]:
        back = front_end.to_picture(torch.full((2, *shape), 0.3))
        assert back.shape == (2, *PICTURE_SHAPE)
        torch.testing.assert_close(back, torch.full_like(back, 0.3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_mel_weights_are_averages(size: tuple[int, int]) -> None:
    front_end = MelResize(size)
    rows, columns = front_end.frequency_weights, front_end.time_weights
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(size[0]), rtol=0, atol=1e-5)
    torch.testing.assert_close(columns.sum(dim=0), torch.ones(size[1]), rtol=0, atol=1e-5)
    assert rows.min() >= 0
    assert columns.min() >= 0


def test_mel_weights_are_the_triangles_of_the_docstring() -> None:
    rows = 40
    weights = MelResize((rows, 64)).frequency_weights
    step = mel(SAMPLE_RATE / 2) / (rows + 1)
    bin_width = SAMPLE_RATE / 2 / (PICTURE_SHAPE[0] - 1)
    for row in (0, 1, 7, 20, 39):
        below, centre, above = (hertz(step * (row + i)) for i in range(3))
        expected = []
        for b in range(PICTURE_SHAPE[0]):
            f = b * bin_width
            side = max(centre - below, bin_width) if f < centre else max(above - centre, bin_width)
            expected.append(max(0.0, 1 - abs(f - centre) / side))
        reference = torch.tensor(expected) / sum(expected)
        torch.testing.assert_close(weights[row], reference.float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_linear(kind: type[FrontEnd]) -> None:
    front_end = kind((37, 53))
    a, b = torch.rand(2, 3, *PICTURE_SHAPE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(front_end(2 * a - 3 * b), 2 * front_end(a) - 3 * front_end(b), rtol=0, atol=1e-5)


def test_linear_resize_is_torchs() -> None:
    x = torch.rand(2, *PICTURE_SHAPE, generator=torch.Generator().manual_seed(0))
    expected = functional.interpolate(x[:, None], (224, 224), mode="bilinear", antialias=True)
    torch.testing.assert_close(LinearResize((224, 224))(x), expected, rtol=0, atol=0)
    maps = torch.rand(2, 7, 9, generator=torch.Generator().manual_seed(1))
    expected = functional.interpolate(maps[:, None], PICTURE_SHAPE, mode="bilinear", antialias=True)[:, 0]
    torch.testing.assert_close(LinearResize((224, 224)).to_picture(maps), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("frequency", "frame"), [(12, 20), (60, 210), (140, 400), (300, 90), (470, 330)])
def test_a_blob_comes_back_to_its_place(kind: type[FrontEnd], frequency: int, frame: int) -> None:
    front_end = kind((128, 128))
    bins, frames = torch.arange(PICTURE_SHAPE[0])[:, None], torch.arange(PICTURE_SHAPE[1])[None]
    blob = torch.exp(-0.5 * (((bins - frequency) / 10) ** 2 + ((frames - frame) / 10) ** 2))
    back = front_end.to_picture(front_end(blob[None])[:, 0])[0]
    peak = divmod(int(back.argmax()), PICTURE_SHAPE[1])
    assert abs(peak[0] - frequency) <= 6
    assert abs(peak[1] - frame) <= 3
    # What is far away stays dark.
    far = (abs(bins - frequency) > 60) | (abs(frames - frame) > 60)
    assert back[far].max() < 0.01 * back.max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", [(0, 0), (2, 5), (4, 1), (7, 7)])
def test_a_cell_of_a_coarse_map_covers_the_bins_it_was_computed_from(
    kind: type[FrontEnd], cell: tuple[int, int]
) -> None:
    height, width = 8, 8
    front_end = kind((128, 128))
    one = torch.zeros(1, height, width)
    one[0, cell[0], cell[1]] = 1.0
    back = front_end.to_picture(one)[0]
    # Centre of the cell in the image, by hand.
    row = (cell[0] + 0.5) * 128 / height - 0.5
    if kind is MelResize:
        centre = hertz(mel(SAMPLE_RATE / 2) / 129 * (row + 1)) / (SAMPLE_RATE / 2) * (PICTURE_SHAPE[0] - 1)
    else:
        centre = (cell[0] + 0.5) * PICTURE_SHAPE[0] / height - 0.5
    middle = (cell[1] + 0.5) * PICTURE_SHAPE[1] / width - 0.5
    assert back[round(centre), round(middle)] > 0.95
    # Nothing is left one and a half cells away.
    assert back[:, round(middle + 1.5 * PICTURE_SHAPE[1] / width) :].numel() == 0 or (
        back[:, round(middle + 1.5 * PICTURE_SHAPE[1] / width) :].max() < 1e-6
    )
    if cell[0] < height - 2 and kind is MelResize:
        beyond = hertz(mel(SAMPLE_RATE / 2) / 129 * (row + 1 + 24)) / (SAMPLE_RATE / 2) * (PICTURE_SHAPE[0] - 1)
        assert back[math.ceil(beyond) :].max() < 1e-6
