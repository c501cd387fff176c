"""The panel of the Optimizer module."""
