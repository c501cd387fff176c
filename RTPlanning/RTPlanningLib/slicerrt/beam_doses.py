"""Doses of the beams of a SlicerRT plan, one at a time as SlicerRT asks for them, all calculated when the first is."""

from __future__ import annotations

import json
import logging
from typing import Any

from DoseEngineLib.engine import create_engine, engine_options
from DoseEngineLib.errors import EngineError, PlanError
from DoseEngineLib.mrml.dose_volume import DOSE_TO, DOSE_VOLUME, PROVENANCE, storableDose
from DoseEngineLib.mrml.subject_hierarchy import ensureStudy, hierarchyNode, placeNode
from DoseEngineLib.mrml.volumes import setVolumeFromArray
from RTPlanningLib.mrml.slicerrt_conversion import PlanOfSlicerRt, planOfSlicerRt
from RTPlanningLib.mrml.slicerrt_nodes import beamNodes, planOfBeam, referencedVolume, setDistance
from RTPlanningLib.slicerrt.beam_parameters import BeamParameter, option_values, read_parameters
from RTPlanningLib.slicerrt.calculation_grid import CalculationGrid
from RTPlanningLib.slicerrt.dose_request import BeamChoices, DoseRequest, UnitDoses, dose_request, unit_doses
from RTPlanningLib.slicerrt.patient_of_plan import patientData
from RTPlanningLib.slicerrt_plan import check_distance

_UNIT_NAME, _UNIT_VALUE = "DicomRtImport.DoseUnitName", "DicomRtImport.DoseUnitValue"


class BeamDoses:
    """Calculates the doses of SlicerRT's beams with one of our engines.

    SlicerRT asks beam by beam, but scaling to a prescription needs them all: what was calculated for the others waits
    until it is asked for, unless anything has changed meanwhile.

    Parameters
    ----------
    label : str
        Of the engine.
    parameters : sequence of BeamParameter
        "Machine", "Scale", "Meterset", "Fractions", and those of the engine's options.
    """

    def __init__(self, label: str, parameters: tuple[BeamParameter, ...]) -> None:
        self.label, self.parameters = label, parameters
        self._key: tuple | None = None
        self._waiting: dict[str, tuple[UnitDoses, CalculationGrid]] = {}

    def calculate(self, scriptedEngine: Any, beamNode, doseNode) -> None:
        """Write the dose of a beam at weight 1 into a volume, on the grid of the plan's reference volume.

        The volume is a dose as SlicerRT knows it, with its provenance; the study above the reference volume has Gy.

        Raises
        ------
        PlanningError
            One of its subclasses, saying what is wrong with plan, beam, CT, structures or machine.
        """
        rtPlanNode = planOfBeam(beamNode)
        found = planOfSlicerRt(rtPlanNode)
        nodes = beamNodes(rtPlanNode)
        number = [node.GetID() for node in nodes].index(beamNode.GetID())
        request = self.request(scriptedEngine, found, nodes)
        name, shown = request.plan.beams[number].name, found.values.beams[number]
        sad_mm = check_distance(shown, request.plan.beams[number].machine)
        data = patientData(rtPlanNode, _structures(request))
        spacing = found.values.dose_grid_spacing_mm
        key = (request.plan.hash(), request.weights, request.unit_MU, spacing, data.digest())
        if key != self._key or name not in self._waiting:
            self._key, self._waiting = None, {}
            patient = data.patient()
            grid = CalculationGrid.of(patient, spacing)
            engine = create_engine(self.label, **request.plan.engine_options)
            units = unit_doses(engine, patient, request, grid.body)
            self._key, self._waiting = key, {beam.name: (units, grid) for beam in request.plan.beams}
        units, grid = self._waiting[name]
        _store(rtPlanNode, doseNode, units, grid, name, shown.weight, found)
        del self._waiting[name]
        if sad_mm is not None:
            logging.info(
                "Beam %s had SlicerRT's default SAD of %g mm; it is %g mm now, as the machine's.", name, shown.sad_mm,
                sad_mm,
            )  # fmt: skip
            setDistance(beamNode, sad_mm)

    def request(self, scriptedEngine: Any, found: PlanOfSlicerRt, nodes: list) -> DoseRequest:
        """What the beams of a plan and their parameters ask for; raises `PlanningError`."""
        options = engine_options(self.label)
        choices = []
        for node in nodes:
            values = read_parameters(self.parameters, scriptedEngine, node)
            choices.append(
                BeamChoices(
                    values["Machine"], values["Scale"], values["Meterset"], int(values["Fractions"]),
                    option_values(options, values),
                )
            )  # fmt: skip
        return dose_request(found.plan, found.values, choices, self.label, converted=found.converted)


def dosesInGy(rtPlanNode) -> int:
    """Bring a plan of SlicerRT into the study of its reference volume, which holds doses in Gy; returns the study item.

    Raises
    ------
    EngineError
        The study has doses in another unit, in which SlicerRT would read ours too.
    """
    volumeNode = referencedVolume(rtPlanNode)
    study = ensureStudy(volumeNode, "Patient", "Radiotherapy planning")
    hierarchy = hierarchyNode(volumeNode.GetScene())
    name, value = hierarchy.GetItemAttribute(study, _UNIT_NAME), hierarchy.GetItemAttribute(study, _UNIT_VALUE)
    if name.upper() not in ("", "GY") or (value and float(value) != 1.0):
        raise EngineError(
            f"Study {hierarchy.GetItemName(study)} holds doses in {value or '1'} {name}, and SlicerRT has one unit a "
            f"study; move {volumeNode.GetName()} to a study of its own (Data module) for doses in Gy."
        )
    # exactly so: SlicerRT knows no other spelling
    hierarchy.SetItemAttribute(study, _UNIT_NAME, "GY")
    hierarchy.SetItemAttribute(study, _UNIT_VALUE, "1.0")
    if hierarchy.GetItemAncestorAtLevel(placeNode(rtPlanNode), "Study") != study:
        placeNode(rtPlanNode, study)
    return study


def writeDose(doseNode, dose_Gy, grid: CalculationGrid, provenance: dict[str, Any], dose_to: str, what: str) -> None:
    """Write a dose of a calculation grid's body into a volume, on the reference volume's grid, as SlicerRT reads it."""
    dose = storableDose(grid.on_reference(dose_Gy), what)
    doseNode.SetAttribute(DOSE_VOLUME, "1")
    doseNode.SetAttribute(DOSE_TO, dose_to)
    doseNode.SetAttribute(PROVENANCE, json.dumps(provenance, sort_keys=True, allow_nan=False))
    setVolumeFromArray(doseNode, dose, grid.reference)
    # what the volume is for SlicerRT was decided when it came into the scene, without the attribute
    hierarchy = hierarchyNode(doseNode.GetScene())
    item = hierarchy.GetItemByDataNode(doseNode)
    if item:
        hierarchy.RequestOwnerPluginSearch(item)


def _store(
    rtPlanNode, doseNode, units: UnitDoses, grid: CalculationGrid, name: str, weight: float, found: PlanOfSlicerRt
) -> None:
    dosesInGy(rtPlanNode)
    provenance = {
        **units.provenance,
        "beam": name,
        "dose_of": f"beam {name} at weight 1, of {weight:g} in the plan; SlicerRT adds up beams by their weights",
        "meterset_MU_at_weight_1": units.unit_MU[name],
        "changed_in_slicerrt": list(found.notes) if found.converted else [],
        "grid_of_the_volume_kji": list(grid.reference.shape),
    }
    writeDose(doseNode, units.doses_Gy[name], grid, provenance, units.dose_to, f"The dose of beam {name}")


def _structures(request: DoseRequest) -> tuple[str, ...]:
    """Structures that scaling needs."""
    prescription = request.plan.prescription
    if request.unit_MU is not None or prescription is None or prescription.normalization == "point":
        return ()
    if prescription.target is None:
        raise PlanError(f"Plan {request.plan.name} has no target to prescribe to; choose its target segment.")
    return (prescription.target,)
