"""What several tests use: small classifiers, made-up runs, commands, a server."""
