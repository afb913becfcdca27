"""Slow, independent derivations of the metrics, which the tests compare with the engine's values."""
