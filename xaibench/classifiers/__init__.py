"""The Classifier protocol, three families behind it, their weights and their training."""
