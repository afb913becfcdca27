"""Built-in explainers, one family per file, each registered by an entry point."""
