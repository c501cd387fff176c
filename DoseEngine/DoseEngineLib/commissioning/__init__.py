"""Commissioning: a photon machine fitted to measured depth doses, profiles and output factors."""
