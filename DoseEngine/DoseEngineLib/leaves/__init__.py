"""Leaves of known MLCs."""
