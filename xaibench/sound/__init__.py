"""Clips: reading sound, spectrograms, batches, datasets, and the random numbers that belong to a clip."""
