"""The codebook partitioned by class, against loops: PIQ, arXiv 2303.12659, after arXiv 1711.00937."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.lazy import Lazy

quantisation = Lazy("xaibench.methods._vector_quantisation")


def codebook(codes: int, shared: int, size: int, classes: int, seed: int = 0):  # type: ignore[no-untyped-def]
    torch.manual_seed(seed)
    return quantisation.ClassCodebook(codes, shared, size, classes)


def features_of(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_loops(weight: np.ndarray, owner: np.ndarray, features: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Nearest code of the clip's class, or of nobody, one position and one code at a time."""
    chosen = np.full((features.shape[0], *features.shape[2:]), -1)
    for clip, row, column in np.ndindex(*chosen.shape):
        best = np.inf
        for code in range(len(weight)):
            if owner[code] not in (target[clip], quantisation.SHARED):
                continue
            distance = float(((features[clip, :, row, column] - weight[code]) ** 2).sum())
            if distance < best:
                best, chosen[clip, row, column] = distance, code
    return chosen


@settings(max_examples=40, deadline=None)
@given(
    classes=st.integers(1, 5),
    own=st.integers(0, 12),
    shared=st.integers(0, 4),
    size=st.integers(1, 6),
    height=st.integers(1, 4),
    width=st.integers(1, 5),
    seed=st.integers(0, 10_000),
)
def test_it_agrees_with_loops(
    classes: int, own: int, shared: int, size: int, height: int, width: int, seed: int
) -> None:
    book = codebook(classes + own + shared, shared, size, classes, seed)
    features = features_of((3, size, height, width), seed)
    target = torch.randint(classes, (3,), generator=torch.Generator().manual_seed(seed))
    expected = by_loops(
        book.weight.detach().double().numpy(), book.owner.numpy(), features.double().numpy(), target.numpy()
    )
    index = book.choose(features, target).numpy()
    weight, wide = book.weight.detach().double().numpy(), features.double().numpy()
    for clip, row, column in np.ndindex(*index.shape):
        # Equal but for a tie in float32.
        here = wide[clip, :, row, column]
        found, best = weight[index[clip, row, column]], weight[expected[clip, row, column]]
        assert abs(((here - found) ** 2).sum() - ((here - best) ** 2).sum()) <= 1e-5 * (1 + (here**2).sum())
    assert (index == expected).mean() > 0.99

    codes, codebook_loss, commitment_loss = book(features, target)
    chosen = weight[index]  # (clips, h, w, size)
    np.testing.assert_allclose(codes.detach().numpy(), np.moveaxis(chosen, -1, 1), rtol=1e-5, atol=1e-5)
    distance = float(((chosen - np.moveaxis(wide, 1, -1)) ** 2).mean())
    assert float(codebook_loss.detach()) == pytest.approx(distance, rel=1e-4)
    assert float(commitment_loss.detach()) == pytest.approx(distance, rel=1e-4)


def test_a_code_of_another_class_is_never_chosen_though_it_is_nearest() -> None:
    book = codebook(12, 0, 4, 3)
    with torch.no_grad():
        book.weight[book.owner == 0] = 100.0
        book.weight[book.owner != 0] = 0.0  # exactly where the features are
    index = book.choose(torch.zeros(2, 4, 3, 3), torch.tensor([0, 2]))
    assert set(book.owner[index[0]].flatten().tolist()) == {0}
    assert set(book.owner[index[1]].flatten().tolist()) == {2}


def test_shared_codes_are_open_to_every_class() -> None:
    book = codebook(8, 2, 4, 3)
    with torch.no_grad():
        book.weight[:] = 100.0
        book.weight[-1] = 0.0
    assert book.owner[-2:].tolist() == [quantisation.SHARED] * 2
    for target in range(3):
        assert (book.choose(torch.zeros(1, 4, 2, 2), torch.tensor([target])) == 7).all()


@pytest.mark.parametrize(("codes", "shared", "classes"), [(1024, 0, 10), (1024, 24, 50), (10, 0, 10), (11, 1, 3)])
def test_every_class_has_its_equal_share(codes: int, shared: int, classes: int) -> None:
    owner = codebook(codes, shared, 2, classes).owner
    assert int((owner == quantisation.SHARED).sum()) == shared
    counts = torch.bincount(owner[owner != quantisation.SHARED], minlength=classes)
    assert counts.sum() == codes - shared
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(("codes", "shared"), [(9, 0), (12, 3), (12, 13), (12, -1), (0, 0)])
def test_too_few_codes_for_the_classes_are_refused(codes: int, shared: int) -> None:
    with pytest.raises(ValueError, match=f"{codes} codes, {shared} of them shared"):
        quantisation.ClassCodebook(codes, shared, 4, 10)


def gradients(loss: Tensor, *of: Tensor) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, of, allow_unused=True, retain_graph=True))


def test_the_straight_through_gradient_is_the_identity() -> None:
    book, features = codebook(12, 2, 5, 3), features_of((4, 5, 3, 2)).requires_grad_()
    passed, _, _ = book(features, torch.tensor([0, 1, 2, 1]))
    arrived = features_of(tuple(passed.shape), seed=1)
    reached, of_codes = torch.autograd.grad(passed, (features, book.weight), arrived, allow_unused=True)
    assert torch.equal(reached, arrived)
    assert of_codes is None  # what uses the codes does not move them


def test_who_learns_from_which_loss() -> None:
    book, features = codebook(12, 2, 5, 3), features_of((4, 5, 3, 2)).requires_grad_()
    target = torch.tensor([0, 1, 2, 1])
    _, codebook_loss, commitment_loss = book(features, target)
    to_features, to_codes = gradients(codebook_loss, features, book.weight)
    assert to_features is None
    assert to_codes is not None
    used = torch.zeros(12, dtype=torch.bool)
    used[book.choose(features, target).flatten()] = True
    assert (to_codes[used] != 0).any(dim=1).all()
    assert (to_codes[~used] == 0).all()
    to_features, to_codes = gradients(commitment_loss, features, book.weight)
    assert to_codes is None
    assert to_features is not None
    index = book.choose(features, target)
    codes = book.weight.detach()[index].movedim(-1, 1)
    torch.testing.assert_close(to_features, 2 * (features.detach() - codes) / features.numel())


def test_renewal_moves_only_unused_codes_and_onto_features_of_their_class() -> None:
    book = codebook(12, 3, 4, 3).train()
    target = torch.tensor([0, 1])  # class 2 has no clips
    features = features_of((2, 4, 2, 2))
    book(features, target)
    used, before, owner = book.used > 0, book.weight.detach().clone(), book.owner.tolist()
    assert int(book.used.sum()) == 8
    assert 0 < int(used.sum()) < 12
    samples, of = features_of((6, 4), seed=3), torch.tensor([0, 0, 0, 1, 1, 1])
    moved = book.renew(samples, of, torch.Generator().manual_seed(0))
    expected = 0
    for code in range(12):
        now = book.weight.detach()[code]
        if used[code] or owner[code] == 2:
            assert torch.equal(now, before[code])
            continue
        expected += 1
        allowed = samples if owner[code] == quantisation.SHARED else samples[of == owner[code]]
        assert (allowed == now).all(dim=1).any()
    assert moved == expected > 0
    assert (book.used == 0).all()


def test_counting_is_for_training_only() -> None:
    book = codebook(12, 0, 4, 3).eval()
    book(features_of((2, 4, 2, 2)), torch.tensor([0, 1]))
    assert (book.used == 0).all()
