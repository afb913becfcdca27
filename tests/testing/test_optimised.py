"""The conformance kit under `python -O`, which strips every assert statement."""

from __future__ import annotations

import subprocess
import sys

LIARS = """
import torch
import xaibench
from xaibench.testing import check_classifier, check_dataset, check_explainer, check_metric, toy_classifier

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

class Data(xaibench.Dataset):
    name, licence, classes, clips = "liar", "none", ("one",), (xaibench.Clip("a", 1, 1, "a"),)
    def waveform(self, clip):
        return None

cold = toy_classifier()
cold.temperature = -1.0

for check, liar in ((check_explainer, Method), (check_metric, Metric), (check_classifier, cold), (check_dataset, Data)):
    try:
        check(liar)
    except AssertionError as error:
        print(check.__name__, error)
"""
SAID = (
    ("check_explainer", "left these changed: batch.x"),
    ("check_metric", "scores 2.0, outside bounds (0.0, 1.0)"),
    ("check_classifier", "temperature must be a positive number, not -1.0"),
    ("check_dataset", "label must be a place in the 1 classes, not 1"),
)


def test_a_broken_promise_is_named_without_assert_statements() -> None:
    done = subprocess.run([sys.executable, "-O", "-c", LIARS], capture_output=True, text=True, check=True)
    for line, (check, words) in zip(done.stdout.splitlines(), SAID, strict=True):
        assert line.startswith(check) and words in line
