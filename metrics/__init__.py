"""Built-in metrics, one family a file, each registered by an entry point."""
