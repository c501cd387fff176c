"""Objectives: functions of the dose in one structure, or of the fluence, each with its gradient."""

from OptimizerLib.objectives.dose_falloff import DoseFalloff
from OptimizerLib.objectives.dose_volume import MaxDVH, MinDVH
from OptimizerLib.objectives.equivalent_uniform_dose import EquivalentUniformDose, EUDOverdose, EUDUnderdose
from OptimizerLib.objectives.fluence_smoothness import FluenceSmoothness
from OptimizerLib.objectives.fluence_term import FluenceTerm
from OptimizerLib.objectives.fluence_total_variation import FluenceTotalVariation
from OptimizerLib.objectives.mean_dose import MeanDose
from OptimizerLib.objectives.objective import Objective
from OptimizerLib.objectives.smooth_extreme import MaximumDose, MinimumDose
from OptimizerLib.objectives.squared_deviation import SquaredDeviation
from OptimizerLib.objectives.squared_overdose import SquaredOverdose
from OptimizerLib.objectives.squared_underdose import SquaredUnderdose

__all__ = [
    "DoseFalloff",
    "EUDOverdose",
    "EUDUnderdose",
    "EquivalentUniformDose",
    "FluenceSmoothness",
    "FluenceTerm",
    "FluenceTotalVariation",
    "MaxDVH",
    "MaximumDose",
    "MeanDose",
    "MinDVH",
    "MinimumDose",
    "Objective",
    "SquaredDeviation",
    "SquaredOverdose",
    "SquaredUnderdose",
]
