"""Radiobiology of a plan: effective doses, probabilities of tumour control and of complications, their uncertainty."""
