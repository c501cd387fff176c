"""Objectives: functions of the dose in one structure, each with its gradient."""

from OptimizerLib.objectives.mean_dose import MeanDose
from OptimizerLib.objectives.objective import Objective
from OptimizerLib.objectives.squared_deviation import SquaredDeviation
from OptimizerLib.objectives.squared_overdose import SquaredOverdose
from OptimizerLib.objectives.squared_underdose import SquaredUnderdose

__all__ = ["MeanDose", "Objective", "SquaredDeviation", "SquaredOverdose", "SquaredUnderdose"]
