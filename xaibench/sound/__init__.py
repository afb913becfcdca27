"""What a clip is: reading sound, spectrograms, batches, datasets, and the random draws that belong to a clip."""
