"""The conformance kit under `python -O`, which strips every assert statement."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIARS = """
import torch
import xaibench
from xaibench.testing import check_explainer, check_metric

assert False, "this interpreter strips asserts"

class Method(xaibench.Explainer):
    title, reference, description, polarity = "Liar", "nobody", "changes the clips", "positive"
    def explain(self, classifier, batch, target):
        batch.x.mul_(2)
        return xaibench.Explanation(batch.x.clone(), batch.picture_shape)

class Metric(xaibench.Metric):
    title, family, reference, description = "Liar", "none", "nobody", "leaves its bounds"
    formula, traps, cost = "2", "none", "0"
    higher_is_better, per_area, needs_ground_truth, in_default_set, bounds = True, False, False, False, (0.0, 1.0)
    def score(self, context, area):
        return xaibench.scores(torch.full((len(context),), 2.0, dtype=torch.float64))

{call}
"""


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("check_explainer(Method)", "left these changed: batch.x"),
        ("check_metric(Metric)", "scores 2.0, outside bounds (0.0, 1.0)"),
    ],
)
def test_a_broken_promise_is_named_without_assert_statements(call: str, words: str) -> None:
    command = [sys.executable, "-O", "-c", LIARS.format(call=call)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert words in done.stderr
