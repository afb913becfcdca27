"""Reduced precision and compilation: options whose effect on the logits is known."""

from __future__ import annotations

import shutil

import pytest
import torch

from xaibench.forwarder import Forwarder
from xaibench.testing import toy_batch, toy_classifier


def test_bfloat16_changes_the_logits_a_little() -> None:
    x, classifier = toy_batch().x, toy_classifier()
    full = Forwarder(classifier, 16).logits(x)
    reduced = Forwarder(classifier, 16, torch.bfloat16).logits(x)
    gap = (full - reduced).abs().max()
    assert reduced.dtype == torch.float64
    assert 0 < gap < 0.05 * full.abs().max()


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_logits_are_the_same_but_for_rounding() -> None:
    x, classifier = toy_batch().x, toy_classifier()
    compiled = Forwarder(classifier, 16, compiled=True)
    for count in (3, 2):
        expected = Forwarder(classifier, 16).logits(x[:count])
        torch.testing.assert_close(compiled.logits(x[:count]), expected, rtol=1e-4, atol=1e-4)
