"""xaibench: an interpretability benchmark suite for sound classifiers."""

__version__ = "0.1.0"
