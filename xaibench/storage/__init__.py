"""Where files live, and how they are written safely: caches, cards, the user's folders, the hub, provenance."""
