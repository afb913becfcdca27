"""Tests, in the folders of what they test; `support` and `references` are what they share."""
