"""The settings of the Plan Optimizer, kept in the scene."""

from __future__ import annotations

from typing import Annotated

from slicer import vtkMRMLScriptedModuleNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from OptimizerLib.fluence_planning import DELIVERIES, FluenceSettings
from OptimizerLib.solvers import DEFAULT_SOLVER

MODULE = "Optimizer"


@parameterNodeWrapper
class OptimizerParameters:
    """What the panel is set to; the objectives are kept with the plan.

    Attributes
    ----------
    planNode : node or None
    bixel_mm, targetMargin_mm : float
        See `OptimizerLib.fluence_planning.FluenceSettings`, as for the next ones.
    ownSpacing : bool
        Whether ``spacing_mm`` counts; else the dose grid of the plan does.
    spacing_mm : float
    normalTissueEvery : int
    solver : str
    iterations : int
    tolerance_percent : float
    delivery : str
    levels : int
    refine : bool
    corrections : int
    engine : str
        Label of the engine of the final dose; empty for the plan's own.
    paretoPlans : int
    paretoGap_percent, paretoRoom : float
        See `OptimizerLib.pareto_planning.plan_pareto`.
    paretoGoals : str
        JSON: number of the goal that each structure belongs to.
    asText : bool
        Whether the objectives are shown as text, else as a table.
    influenceFolded, searchFolded, plotsFolded, resultFolded, paretoFolded, weightsFolded : bool
        Sections of the panel.
    """

    planNode: vtkMRMLScriptedModuleNode
    bixel_mm: Annotated[float, WithinRange(1.0, 50.0)] = 5.0
    targetMargin_mm: Annotated[float, WithinRange(0.0, 100.0)] = 5.0
    ownSpacing: bool = False
    spacing_mm: Annotated[float, WithinRange(0.5, 20.0)] = 3.0
    normalTissueEvery: Annotated[int, WithinRange(1, 20)] = 3
    solver: str = DEFAULT_SOLVER
    iterations: Annotated[int, WithinRange(1, 100_000)] = 200
    tolerance_percent: Annotated[float, WithinRange(0.0001, 10.0)] = 0.03
    delivery: str = DELIVERIES[0]
    levels: Annotated[int, WithinRange(1, 200)] = 10
    refine: bool = True
    corrections: Annotated[int, WithinRange(0, 20)] = 2
    engine: str = ""
    paretoPlans: Annotated[int, WithinRange(2, 60)] = 12
    paretoGap_percent: Annotated[float, WithinRange(0.1, 50.0)] = 5.0
    paretoRoom: Annotated[float, WithinRange(1.1, 100.0)] = 4.0
    paretoGoals: str = "{}"
    asText: bool = False
    influenceFolded: bool = True
    searchFolded: bool = False
    plotsFolded: bool = False
    resultFolded: bool = False
    paretoFolded: bool = True
    weightsFolded: bool = True


def fluenceSettings(parameters: OptimizerParameters) -> FluenceSettings:
    """The settings as the optimizer takes them; raises `OptimizationError` for those that make no sense."""
    return FluenceSettings(
        bixel_mm=parameters.bixel_mm,
        target_margin_mm=parameters.targetMargin_mm,
        spacing_mm=parameters.spacing_mm if parameters.ownSpacing else None,
        normal_tissue_every=parameters.normalTissueEvery,
        solver=parameters.solver,
        iterations=parameters.iterations,
        tolerance=parameters.tolerance_percent / 100.0,
        delivery=parameters.delivery,
        levels=parameters.levels,
        refine=parameters.refine,
        corrections=parameters.corrections,
    )
