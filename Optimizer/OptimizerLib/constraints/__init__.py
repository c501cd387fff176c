"""Hard constraints: convex limits on the dose in one structure, each with its derivative."""

from OptimizerLib.constraints.constraint import Constraint
from OptimizerLib.constraints.equivalent_uniform_dose import MaxEUD, MinEUD
from OptimizerLib.constraints.extreme_dose import MaxDose, MinDose
from OptimizerLib.constraints.mean_dose import MaxMean, MinMean
from OptimizerLib.constraints.tail_mean import MaxTailMean, MinTailMean

__all__ = ["Constraint", "MaxDose", "MaxEUD", "MaxMean", "MaxTailMean", "MinDose", "MinEUD", "MinMean", "MinTailMean"]
