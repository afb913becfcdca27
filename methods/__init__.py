"""Built-in explainers, one family a file, each registered by an entry point."""
