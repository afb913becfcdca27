"""The conformance kit: what the benchmark relies on in every explainer, metric, classifier and dataset.

A plugin's test is one line, such as `check_explainer(MyMethod)` or `check_dataset(MyData)`, and takes seconds; the
built-ins are checked by the same calls. A broken promise is an AssertionError that names it.
"""

from xaibench.testing.classifiers import check_classifier
from xaibench.testing.common import TOLERANCE
from xaibench.testing.datasets import check_dataset
from xaibench.testing.explainers import check_explainer
from xaibench.testing.metrics import GradientTimesInput, check_metric
from xaibench.testing.toys import toy_batch, toy_classifier

__all__ = [
    "TOLERANCE",
    "GradientTimesInput",
    "check_classifier",
    "check_dataset",
    "check_explainer",
    "check_metric",
    "toy_batch",
    "toy_classifier",
]
