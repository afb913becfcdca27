"""Papers whose comparisons `xaibench reproduce` repeats, one a file; each is registered by an entry point."""
