"""The public functions: what to score, the scoring, and what came out; the commands call them too."""
