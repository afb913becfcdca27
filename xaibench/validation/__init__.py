"""Whether the metrics can be trusted: maps of known quality, what they say of each metric, and the report."""
