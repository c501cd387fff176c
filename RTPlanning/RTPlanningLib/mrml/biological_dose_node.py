"""EQD2 and BED of a plan as dose volumes, each structure's voxels with its own alpha/beta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from DoseEngineLib.background import Background, at_once
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.dose_volume import setDoseVolume
from DoseEngineLib.mrml.plan_node import SEGMENTATION, deliveredPlan, referencedNode
from DoseEngineLib.mrml.subject_hierarchy import ensureStudy, studyForDose
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.mrml.derived_nodes import derivedNode, setDerivation
from RTPlanningLib.mrml.dose_distribution_nodes import doseDistribution, quantityOf, setQuantity
from RTPlanningLib.mrml.plan_evaluation import currentDose, planStructures
from RTPlanningLib.radiobiology.biological_dose import alpha_beta_map, bed_map_Gy, eqd2_map_Gy
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.linear_quadratic import biologically_effective_dose_Gy, eqd2_Gy
from RTPlanningLib.radiobiology.structure_matching import match_tissue

QUANTITIES = ("EQD2", "BED")


def createBiologicalDose(
    planNode,
    quantity: str,
    alpha_beta_Gy: Mapping[str, float] | None,
    *,
    elsewhere_Gy: float,
    overlap: str = "first",
    progress: Progress | None = None,
    background: Background = at_once,
):
    """Put the EQD2 or BED of a plan into the scene, as ``<plan>_EQD2`` beside its dose.

    Fractions are those of the plan, acute and fully repaired between. The same request again updates the same volume.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    quantity : {"EQD2", "BED"}
    alpha_beta_Gy : mapping of structure name to alpha/beta in Gy, or None
        None: what the parameter table has for the tissues that structures are named after; all others count as
        elsewhere. Their order matters for the overlap rule "first".
    elsewhere_Gy : float
        Alpha/beta outside these structures.
    overlap : {"first", "smallest", "largest"}
        What counts where structures overlap.
    progress : callable, optional
    background : Background
        Runs the conversion itself.

    Returns
    -------
    vtkMRMLScalarVolumeNode
        Its provenance (attribute ``RTPlanning.DoseProvenance``) holds every alpha/beta, the fractions, and notes.

    Raises
    ------
    PlanError
        No dose, or a plan changed since.
    EvaluationError
        An unknown quantity, structure or overlap rule, an alpha/beta that is none.
    """
    if quantity not in QUANTITIES:
        raise EvaluationError(f"A biological dose is {' or '.join(QUANTITIES)}, not {quantity!r}.")
    report = part(progress, 0.0, 1.0)
    report(0.0, f"{quantity}: reading dose and structures")
    doseNode = currentDose(planNode)
    if quantityOf(doseNode) != "physical dose":
        raise EvaluationError(
            f"The dose of plan {planNode.GetName()} is {quantityOf(doseNode)} already; choose a plan with a physical "
            "dose."
        )
    dose = doseDistribution(planNode)
    plan = deliveredPlan(planNode)
    structures = _structures(planNode)
    byName = alpha_beta_Gy is None
    chosen = alphaBetaByName(structures) if alpha_beta_Gy is None else dict(alpha_beta_Gy)
    unknown = [name for name in chosen if name not in structures]
    if unknown:
        raise EvaluationError(
            f"There is no structure {', '.join(unknown)} to give an alpha/beta to; the plan has: "
            f"{', '.join(structures) or 'none'}."
        )
    ordered = [structures[name] for name in chosen]
    course = Fractionation(plan.fractions)

    def convert(told: Progress) -> np.ndarray:
        told(0.0, f"{quantity}: alpha/beta of every voxel")
        ratios = alpha_beta_map(dose.grid, ordered, chosen, elsewhere_Gy=elsewhere_Gy, overlap=overlap)
        return (eqd2_map_Gy if quantity == "EQD2" else bed_map_Gy)(dose.dose_Gy, ratios, course)

    values = background(convert, part(report, 0.2, 0.9))
    notes = [note for structure in ordered if (note := _reach(structure, dose.grid))]
    provenance: dict[str, Any] = {
        "operation": quantity,
        "model": "linear-quadratic, acute fractions with complete repair between them",
        "fractions": plan.fractions,
        "alpha_beta_Gy": chosen,
        "alpha_beta_by": "structure names" if byName else "the user",
        "alpha_beta_elsewhere_Gy": float(elsewhere_Gy),
        "overlap": overlap,
        "dose": dose.summary(),
        "notes": notes,
    }
    request = {
        "operation": quantity,
        "alpha_beta_Gy": None if byName else list(chosen.items()),
        "elsewhere_Gy": float(elsewhere_Gy),
        "overlap": overlap,
    }
    reference_Gy = _reference_Gy(plan.prescription, quantity, plan.fractions, chosen, elsewhere_Gy)
    # the last call that can cancel: from here on the scene changes
    report(1.0, f"{quantity} ready")
    scene = planNode.GetScene()
    node = setDoseVolume(
        scene,
        derivedNode(scene, "vtkMRMLScalarVolumeNode", request, [planNode]),
        f"{planNode.GetName()}_{quantity}",
        values,
        dose.grid,
        parentItem=studyForDose(scene, ensureStudy(doseNode, "Patient", "Radiotherapy planning")),
        reference_Gy=reference_Gy,
        provenance=provenance,
        dose_to=dose.dose_to,
    )
    # EQD2 is a dose in fractions of 2 Gy, however many; BED has none at all
    setQuantity(node, quantity, None)
    setDerivation(node, request, [planNode])
    return node


def alphaBetaByName(structures: Mapping[str, Structure]) -> dict[str, float]:
    """Return alpha/beta in Gy of the structures whose names say their tissue; of the others, nothing."""
    matches = {name: match_tissue(name) for name in structures}
    return {name: match.tissue.alpha_beta_Gy for name, match in matches.items() if match.tissue is not None}


def _structures(planNode) -> dict[str, Structure]:
    if referencedNode(planNode, SEGMENTATION, "segmentation", optional=True) is None:
        return {}
    return {structure.name: structure for structure in planStructures(planNode)}


def _reach(structure: Structure, grid: Grid) -> str:
    """What part of a structure has no voxel in the map."""
    if structure.is_empty:
        return f"{structure.name} is empty; its alpha/beta is used nowhere."
    k, j, i = np.nonzero(structure.mask)
    if not k.size:
        return f"{structure.name} is smaller than a voxel of the CT; its alpha/beta is used nowhere."
    inside = grid.contains(structure.grid.index_to_ras(np.stack((i, j, k), axis=-1)))
    if inside.all():
        return ""
    return f"{100.0 * np.mean(~inside):.3g} % of {structure.name} lie outside the dose grid and are not in the map."


def _reference_Gy(
    prescription, quantity: str, fractions: int, chosen: Mapping[str, float], elsewhere: float
) -> float | None:
    """The prescription in terms of the quantity, which sets the display's window."""
    if prescription is None:
        return None
    ratio = chosen.get(prescription.target, elsewhere)
    convert = eqd2_Gy if quantity == "EQD2" else biologically_effective_dose_Gy
    return float(convert(prescription.dose_Gy, fractions, ratio))
