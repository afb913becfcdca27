"""Engines: how the workers of a run come to other machines. Entry points name them; no other folder imports them."""
