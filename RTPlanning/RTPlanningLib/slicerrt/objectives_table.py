"""The objectives that our optimizer offers in SlicerRT's table, and the rows of ours that they become.

SlicerRT's table gives each a penalty, which is our weight, and an overlap priority: a voxel that belongs to several
structures of the table counts for those of the lowest number only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from DoseEngineLib.clinical_goals import Goal
from DoseEngineLib.dose_metrics import Metric
from DoseEngineLib.plan import Structure
from OptimizerLib.aims import Aim, Dose, Extreme, Falloff, UniformDose
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objective_rows import ObjectiveRow
from RTPlanningLib.mrml.slicerrt_nodes import ObjectiveValues

_Values = Mapping[str, float]


@dataclass(frozen=True)
class TableObjective:
    """An objective of the table.

    Attributes
    ----------
    defaults : dict of parameter name to its default
    make : callable
        Structure, values of the parameters, target -> the aim.
    """

    defaults: dict[str, float]
    make: Callable[[str, _Values, str], Aim]


def _limit(metric: Callable[[_Values], Metric], operator: str) -> Callable[[str, _Values, str], Aim]:
    return lambda structure, values, target: Goal(structure, metric(values), operator, values["Dose_Gy"], "Gy")


def _volume(values: _Values) -> Metric:
    return Metric("D", values["Volume_percent"], "%", "Gy")


def _eud(values: _Values) -> Metric:
    return Metric("gEUD", values["a"], "", "Gy")


OBJECTIVES: dict[str, TableObjective] = {
    "Uniform dose": TableObjective(
        {"Dose_Gy": 50.0}, lambda structure, values, target: UniformDose(structure, Dose(values["Dose_Gy"]))
    ),
    "Maximum dose": TableObjective({"Dose_Gy": 50.0}, _limit(lambda values: Metric("Max"), "<=")),
    "Minimum dose": TableObjective({"Dose_Gy": 50.0}, _limit(lambda values: Metric("Min"), ">=")),
    "Mean dose at most": TableObjective({"Dose_Gy": 20.0}, _limit(lambda values: Metric("Mean"), "<=")),
    "Mean dose minimal": TableObjective(
        {}, lambda structure, values, target: Extreme("minimize", structure, Metric("Mean"))
    ),
    "DVH at most": TableObjective({"Dose_Gy": 30.0, "Volume_percent": 20.0}, _limit(_volume, "<=")),
    "DVH at least": TableObjective({"Dose_Gy": 47.5, "Volume_percent": 95.0}, _limit(_volume, ">=")),
    "gEUD at most": TableObjective({"Dose_Gy": 20.0, "a": 5.0}, _limit(_eud, "<=")),
    "gEUD at least": TableObjective({"Dose_Gy": 48.0, "a": -10.0}, _limit(_eud, ">=")),
    "Fall-off from the target": TableObjective(
        {"Near_Gy": 50.0, "Far_Gy": 15.0, "Reach_mm": 30.0},
        lambda structure, values, target: Falloff(
            structure, Dose(values["Near_Gy"]), Dose(values["Far_Gy"]), values["Reach_mm"], target
        ),
    ),
}


def available_objectives() -> dict[str, dict[str, dict[str, float]]]:
    """What SlicerRT asks an optimizer for: name -> parameter -> ``{"default": value}``."""
    return {
        name: {parameter: {"default": value} for parameter, value in objective.defaults.items()}
        for name, objective in OBJECTIVES.items()
    }


def objective_row(values: ObjectiveValues, target: str) -> ObjectiveRow:
    """Return the row that a line of the table stands for.

    Raises
    ------
    OptimizationError, EvaluationError
        An unknown objective, or a text that is no number; the message names the line.
    """
    owner = f"Objective {values.kind} of {values.structure}"
    if values.kind not in OBJECTIVES:
        raise OptimizationError(f"{owner}: RTPlanning has no such objective; choose one of: {', '.join(OBJECTIVES)}.")
    objective = OBJECTIVES[values.kind]
    numbers = {
        name: _number(values.parameters.get(name, str(default)), f"{owner}: {name}")
        for name, default in objective.defaults.items()
    }
    aim = objective.make(values.structure, numbers, target)
    if values.is_constraint:
        return ObjectiveRow(aim, constraint=True)
    return ObjectiveRow(aim, weight=_number(values.penalty or "1", f"{owner}: its penalty (p)"))


def without_overlaps(structures: Sequence[Structure], lines: Sequence[ObjectiveValues]) -> tuple[Structure, ...]:
    """Return structures without the voxels that belong to one of a lower overlap priority number in the table.

    Raises
    ------
    OptimizationError
        Two numbers for one structure, or a structure of which nothing is left.
    """
    priority: dict[str, float] = {}
    for line in lines:
        value = _number(
            line.overlap_priority or "0", f"Objective {line.kind} of {line.structure}: overlap priority (OP)"
        )
        if priority.setdefault(line.structure, value) != value:
            raise OptimizationError(
                f"{line.structure} has overlap priorities {priority[line.structure]:g} and {value:g} in the table of "
                "objectives; give it one."
            )
    by_name = {structure.name: structure for structure in structures}
    result = []
    for structure in structures:
        if structure.name not in priority:
            result.append(structure)
            continue
        first = [name for name, value in priority.items() if value < priority[structure.name]]
        taken = [by_name[name].mask for name in first if (by_name[name].mask & structure.mask).any()]
        if not taken:
            result.append(structure)
            continue
        left = structure.mask & ~np.any(taken, axis=0)
        if not left.any():
            raise OptimizationError(
                f"All of {structure.name} lies in structures of a lower overlap priority number ({', '.join(first)}), "
                "so its objectives have no voxel; give it the same number, or drop them."
            )
        result.append(replace(structure, mask=left, outline=None))
    return tuple(result)


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise OptimizationError(f"{what} must be a number; got {text!r}.")
    return value
