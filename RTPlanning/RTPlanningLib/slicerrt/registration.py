"""Make our plug-ins known to SlicerRT's External Beam Planning, where it is installed.

SlicerRT's packages ``DoseEngines`` and ``PlanOptimizers`` hold its scripted plug-ins, and the lists
``slicer.modules.doseEngineNames`` and ``planOptimizerNames`` name those that External Beam Planning creates when it is
entered (SlicerRT's ``DoseEngines.__init__.py.in`` and ``qSlicerExternalBeamPlanningModuleWidget.cxx``, July 2026). It
looks for each by its name as an attribute of the package, and in ``sys.modules`` below the package.
"""

from __future__ import annotations

import importlib
import logging
import sys

import slicer

DOSE_ENGINES = ("RTPlanningPencilBeamDoseEngine", "RTPlanningCollapsedConeDoseEngine")
PLAN_OPTIMIZERS = ("RTPlanningPlanOptimizer",)


def registerInSlicerRT() -> tuple[str, ...]:
    """Register engines and optimizer; done twice, it changes nothing. Where SlicerRT is missing nothing happens.

    Returns
    -------
    tuple of str
        What is registered now.
    """
    return (
        *_register("DoseEngines", "doseEngineNames", DOSE_ENGINES),
        *_register("PlanOptimizers", "planOptimizerNames", PLAN_OPTIMIZERS),
    )


def _register(packageName: str, listName: str, names: tuple[str, ...]) -> tuple[str, ...]:
    try:
        package = importlib.import_module(packageName)
    except ModuleNotFoundError as error:
        if error.name != packageName:
            logging.exception("RTPlanning: SlicerRT's %s cannot be imported; its plug-ins are left out.", packageName)
        return ()
    except Exception:
        # at start-up, of somebody else's package: whatever it is, Slicer must start
        logging.exception("RTPlanning: SlicerRT's %s cannot be imported; its plug-ins are left out.", packageName)
        return ()
    if not hasattr(slicer.modules, listName):
        setattr(slicer.modules, listName, [])
    listed = getattr(slicer.modules, listName)
    for name in names:
        module = importlib.import_module(f"RTPlanningLib.slicerrt.{name}")
        sys.modules[f"{packageName}.{name}"] = module
        setattr(package, name, module)
        if name not in listed:
            listed.append(name)
    return names
