"""Dose influence of SlicerRT's beams, one by one, and a copy of each: scenes do not save SlicerRT's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from DoseEngineLib.engine import create_engine
from DoseEngineLib.errors import EngineError, PlanError
from DoseEngineLib.influence import DoseInfluence, beams_hash, patient_hash
from DoseEngineLib.machine import load_machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Plan, Structure
from RTPlanningLib.mrml.slicerrt_conversion import planOfSlicerRt
from RTPlanningLib.mrml.slicerrt_nodes import (
    beamNodes,
    planOfBeam,
    referencedSegmentation,
    setBeamInfluence,
    setDistance,
)
from RTPlanningLib.slicerrt.beam_doses import BeamDoses
from RTPlanningLib.slicerrt.beam_parameters import read_parameters
from RTPlanningLib.slicerrt.calculation_grid import CalculationGrid
from RTPlanningLib.slicerrt.patient_of_plan import patientData
from RTPlanningLib.slicerrt_plan import SlicerRtPlan, check_distance


class BeamInfluences:
    """Calculates the dose influence of SlicerRT's beams with an engine of ours.

    Parameters
    ----------
    doses : BeamDoses
        The engine's, which reads the parameters.
    """

    def __init__(self, doses: BeamDoses) -> None:
        self._doses = doses

    def calculate(self, scriptedEngine: Any, beamNode) -> None:
        """Give a beam its dose influence, and keep a copy (`influenceOf`).

        Rows are the voxels of the grid with the reference volume's axes and first voxel and the plan's dose grid
        spacing, the first index running fastest; outside the body they are empty. Columns are bixels around the plan's
        targets. Entries are Gy of the whole course for 1 MU a fraction of open fluence in the bixel: jaws and leaves
        do not matter.

        Raises
        ------
        PlanningError
            One of its subclasses, saying what is wrong with plan, beam, CT, structures or machine.
        """
        rtPlanNode = planOfBeam(beamNode)
        found, nodes = planOfSlicerRt(rtPlanNode), beamNodes(rtPlanNode)
        number = [node.GetID() for node in nodes].index(beamNode.GetID())
        request = self._doses.request(scriptedEngine, found, nodes)
        beam, shown = request.plan.beams[number], found.values.beams[number]
        sad_mm = check_distance(shown, beam.machine)
        targets = targetNames(rtPlanNode, found.values)
        patient = patientData(rtPlanNode, targets).patient()
        grid = CalculationGrid.of(patient, found.values.dose_grid_spacing_mm)
        values = read_parameters(self._doses.parameters, scriptedEngine, beamNode)
        influence = _influence(
            patient, _alone(request.plan, number), targets, grid, self._doses.label, values["BixelWidth"],
            values["TargetMargin"],
        )  # fmt: skip
        entries = influence.matrix.tocoo()
        rows = grid_rows(influence, grid)[entries.row]
        whole = sparse.coo_array(
            (entries.data.astype(np.float64) * influence.fractions, (rows, entries.col)),
            shape=(grid.whole.size, influence.bixels),
        )
        setBeamInfluence(beamNode, whole, grid.whole.shape, tuple(float(s) for s in grid.whole.spacing_mm))
        _keep(beamNode, influence)
        if sad_mm is not None:
            setDistance(beamNode, sad_mm)


def targetNames(rtPlanNode, values: SlicerRtPlan) -> tuple[str, ...]:
    """Return the names of a plan's target segments; `PlanError` when it has none."""
    segmentationNode = referencedSegmentation(rtPlanNode)
    if segmentationNode is None or not values.target_segment_ids:
        raise PlanError(
            f"Plan {values.name} has no target; choose its segmentation and target segments, around which fluence is "
            "optimized."
        )
    names = []
    for segmentID in values.target_segment_ids:
        segment = segmentationNode.GetSegmentation().GetSegment(segmentID)
        if segment is None:
            raise PlanError(
                f"Plan {values.name}: target segment {segmentID!r} is not in its segmentation; choose anew."
            )
        names.append(segment.GetName() or segmentID)
    return tuple(names)


def grid_rows(influence: DoseInfluence, grid: CalculationGrid) -> np.ndarray:
    """Flat index (v,) in the whole grid of each row of an influence on its body's part."""
    index = np.unravel_index(influence.voxels, grid.body.shape)
    index = tuple(one + cut.start for one, cut in zip(index, grid.slices, strict=True))
    return np.ravel_multi_index(index, grid.whole.shape)


def planInfluence(rtPlanNode, plan: Plan, patient: Patient) -> tuple[DoseInfluence, Plan]:
    """Return the dose influence of all beams of a plan from the copies that `BeamInfluences` kept, and the plan with
    the machines and fractions that they were calculated for.

    Raises
    ------
    PlanError
        A beam has none, or it was calculated for something else; calculate it with inverse planning switched on.
    """
    remedy = (
        "Calculate the dose influence of the plan anew, with inverse planning switched on and the dose engine "
        "RTPlanning photon pencil beam, then optimize."
    )
    nodes = beamNodes(rtPlanNode)
    parts = [influenceOf(node) for node in nodes]
    for node, part in zip(nodes, parts, strict=True):
        if part is None:
            raise PlanError(f"Beam {node.GetName()} has no dose influence of RTPlanning. {remedy}")
    first = parts[0]
    beams = tuple(
        beam if beam.machine == part.beams[0].machine else replace(beam, machine=part.beams[0].machine)
        for beam, part in zip(plan.beams, parts, strict=True)
    )
    prescription = plan.prescription and replace(plan.prescription, fractions=first.fractions)
    plan = replace(plan, beams=beams, prescription=prescription)
    for number, (node, part) in enumerate(zip(nodes, parts, strict=True)):
        try:
            part.check(patient, _alone(plan, number))
        except PlanError as error:
            raise PlanError(f"Beam {node.GetName()}: {error} {remedy}") from error
        if (
            part.fractions != plan.fractions
            or not part.grid.is_same_as(first.grid)
            or not np.array_equal(part.voxels, first.voxels)
        ):
            raise PlanError(
                f"The beams of {plan.name} have dose influences on different grids, or of different fractions. {remedy}"
            )
    provenance = {**first.provenance, "beams_hash": beams_hash(plan.beams, plan.patient_position)}
    influence = DoseInfluence(
        matrix=sparse.csc_array(sparse.hstack([part.matrix for part in parts], format="csc")),
        voxels=first.voxels,
        grid=first.grid,
        beams=tuple(beam for part in parts for beam in part.beams),
        fractions=plan.fractions,
        voxel_weights=first.voxel_weights,
        cutoff_error={part.beams[0].name: part.cutoff_error for part in parts},
        provenance=provenance,
    )
    return influence, plan


_COPIES: dict[tuple[str, str], tuple[Any, DoseInfluence]] = {}


def influenceOf(beamNode) -> DoseInfluence | None:
    """Return the copy of a beam's dose influence that was calculated last in this session, or None."""
    _forget_removed()
    found = _COPIES.get(_key(beamNode))
    return None if found is None else found[1]


def _keep(beamNode, influence: DoseInfluence) -> None:
    _forget_removed()
    _COPIES[_key(beamNode)] = (beamNode.GetScene(), influence)


def _key(beamNode) -> tuple[str, str]:
    return beamNode.GetScene().GetAddressAsString(""), beamNode.GetID()


def _forget_removed() -> None:
    for (address, nodeID), (scene, _) in list(_COPIES.items()):
        if scene.GetNodeByID(nodeID) is None:
            del _COPIES[address, nodeID]


def _alone(plan: Plan, number: int) -> Plan:
    """The plan with one beam only, of any MU: directions are what counts."""
    beam = replace(plan.beams[number], meterset_MU=1.0)
    prescription = plan.prescription and replace(plan.prescription, normalization="none", target=None)
    return replace(plan, beams=(beam,), prescription=prescription)


def _influence(
    patient: Patient, plan: Plan, targets: Sequence[str], grid: CalculationGrid, label: str, bixel_mm: float,
    margin_mm: float,
) -> DoseInfluence:  # fmt: skip
    # with numba, which is asked for in the action that comes here
    from DoseEngineLib.photon.bixels import bixels_of_target

    beam = plan.beams[0]
    bixels = bixels_of_target(
        _union([patient.structure(name) for name in targets]), beam, load_machine(beam.machine), plan.patient_position,
        bixel_mm, margin_mm,
    )  # fmt: skip
    influence = create_engine(label, **plan.engine_options).calculate_influence(
        patient, plan, bixels=[bixels], grid=grid.body
    )
    if influence.bixels == 0:
        raise EngineError(f"Beam {beam.name} has no bixels; check its target and isocentre.")
    # of the patient as it is, whatever the engine's options make of it: so it is known again
    return replace(influence, provenance={**influence.provenance, "patient_hash": patient_hash(patient)})


def _union(structures: Sequence[Structure]) -> Structure:
    first = structures[0]
    if len(structures) == 1:
        return first
    mask = np.any([s.mask for s in structures], axis=0)
    return replace(first, name=" and ".join(s.name for s in structures), mask=mask, outline=None)
