"""Dose-volume histograms, as evaluation and scripts use them; engines scale doses by the same ones."""

from DoseEngineLib.dvh import Dvh, calculate_dvh, calculate_dvhs

__all__ = ["Dvh", "calculate_dvh", "calculate_dvhs"]
