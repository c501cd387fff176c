"""Commissioning: a photon machine fitted to measured depth doses, profiles and output factors."""

from DoseEngineLib.commissioning.fit import CommissioningResult, commission
from DoseEngineLib.commissioning.measurements import read_measurements
