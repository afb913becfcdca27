"""An explainer and a metric for xaibench, registered by entry points."""
