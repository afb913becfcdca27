"""The commands of the command line, one topic a file; each imports torch only when it runs."""
