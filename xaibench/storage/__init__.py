"""Files: caches, cards, the user's folders, the hub, provenance, and how to write files safely."""
