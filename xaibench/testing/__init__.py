"""The conformance kit: what the benchmark relies on in every explainer and metric, checked in seconds.

A plugin's test is one line, `check_explainer(MyMethod)` or `check_metric(MyMetric)`; the built-ins
are checked by the same calls. A broken promise is an AssertionError that names it.
"""

from xaibench.testing.common import TOLERANCE
from xaibench.testing.explainers import check_explainer
from xaibench.testing.metrics import GradientTimesInput, check_metric
from xaibench.testing.toys import toy_batch, toy_classifier

__all__ = ["TOLERANCE", "GradientTimesInput", "check_explainer", "check_metric", "toy_batch", "toy_classifier"]
