"""The formats and the numbers of SpeechBrain's ESC-50 recipes (arXiv 2402.02754)."""
