"""How explanations are scored: protocols, rankings, perturbed clips, the contract of metrics, the loop over clips."""
