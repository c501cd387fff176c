"""What a scene's plan or CT is as DICOM: the case, the delivered plan and its doses."""

from __future__ import annotations

from dataclasses import dataclass

from DoseEngineLib.background import Background, at_once
from DoseEngineLib.errors import PlanError
from DoseEngineLib.mrml.dose_volume import DOSE_TO, provenanceOf
from DoseEngineLib.mrml.plan_node import (
    BEAM_DOSE,
    REFERENCE_VOLUME,
    SEGMENTATION,
    beamNode,
    deliveredPlan,
    isPlanNode,
    referencedNode,
)
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress
from RTPlanningLib.case import Case
from RTPlanningLib.dicom.export import DicomOptions
from RTPlanningLib.dicom.rt_dose_writer import DoseToExport
from RTPlanningLib.mrml.biological_dose_node import createBiologicalDose
from RTPlanningLib.mrml.case_nodes import caseFromNodes
from RTPlanningLib.mrml.dose_distribution_nodes import quantityOf
from RTPlanningLib.mrml.plan_evaluation import currentDose

_LONGEST_COMMENT = 64


@dataclass(frozen=True, eq=False)
class NodesToExport:
    """A case and, of a plan node, the plan as delivered and its doses."""

    case: Case
    plan: Plan | None = None
    doses: tuple[DoseToExport, ...] = ()


def nodesToExport(
    node,
    segmentationNode=None,
    options: DicomOptions | None = None,
    progress: Progress | None = None,
    background: Background = at_once,
) -> NodesToExport:
    """Gather what a plan node, or a CT volume node with a segmentation, exports.

    Parameters
    ----------
    node : vtkMRMLScriptedModuleNode or vtkMRMLScalarVolumeNode
    segmentationNode : vtkMRMLSegmentationNode, optional
        Of a CT volume; a plan has its own.
    options : DicomOptions, optional
    progress : callable, optional
    background : Background
        Runs the conversion to EQD2.

    Raises
    ------
    PlanError
        No node; a plan without a dose, or changed since; doses asked of a CT.
    EvaluationError
        A plan whose dose is no physical one, an EQD2 that cannot be calculated.
    """
    options = options or DicomOptions()
    if node is None:
        raise PlanError("There is nothing to export; choose a plan or a CT.")
    if not isPlanNode(node):
        if options.beams or options.eqd2_elsewhere_Gy is not None:
            raise PlanError(f"{node.GetName()} is no plan, so it has no doses to export; choose a plan.")
        return NodesToExport(caseFromNodes(node, segmentationNode))
    if segmentationNode is not None:
        raise PlanError(f"Plan {node.GetName()} is exported with its own structures; give no segmentation.")
    doseNode = currentDose(node)
    if quantityOf(doseNode) != "physical dose":
        raise PlanError(
            f"The dose of plan {node.GetName()} is its {quantityOf(doseNode)}; calculate its physical dose, which is "
            "what is exported as the plan's."
        )
    case = caseFromNodes(
        referencedNode(node, REFERENCE_VOLUME, "CT volume"),
        referencedNode(node, SEGMENTATION, "segmentation", optional=True),
    )
    plan = deliveredPlan(node)
    overridden = bool(case.density_overrides_g_cm3)
    made = _made(doseNode)
    doses = [
        DoseToExport(arrayFromVolume(doseNode), gridFromVolume(doseNode), comment=made, overridden_densities=overridden)
    ]
    if options.beams:
        for number, beam in enumerate(plan.beams, start=1):
            beamDose = beamNode(node, BEAM_DOSE, beam.name)
            if beamDose is None:
                raise PlanError(f"There is no dose of beam {beam.name}; calculate the plan's dose again.")
            doses.append(
                DoseToExport(
                    arrayFromVolume(beamDose),
                    gridFromVolume(beamDose),
                    beam_number=number,
                    name=f"RTDOSE_beam_{number:02d}",
                    comment=made,
                    overridden_densities=overridden,
                )
            )
    if options.eqd2_elsewhere_Gy is not None:
        eqd2 = createBiologicalDose(
            node,
            "EQD2",
            options.eqd2_Gy,
            elsewhere_Gy=options.eqd2_elsewhere_Gy,
            progress=progress,
            background=background,
        )
        doses.append(
            DoseToExport(
                arrayFromVolume(eqd2),
                gridFromVolume(eqd2),
                "EFFECTIVE",
                name="RTDOSE_EQD2",
                comment=_comment(options),
                overridden_densities=overridden,
            )
        )
    return NodesToExport(case, plan, tuple(doses))


def _made(doseNode) -> str:
    """To what the dose is, and by which engine, in a line."""
    provenance = provenanceOf(doseNode)
    medium = doseNode.GetAttribute(DOSE_TO)
    said = [f"Dose to {medium}"] if medium else []
    if "engine" in provenance:
        said.append(f"{provenance['engine']} {provenance.get('engine_version', '')}".rstrip())
    comment = ", ".join(said)
    return comment if len(comment) <= _LONGEST_COMMENT else said[0]


def _comment(options: DicomOptions) -> str:
    named = "".join(f", {value:g} in {name}" for name, value in options.eqd2_Gy.items())
    comment = f"EQD2, alpha/beta {options.eqd2_elsewhere_Gy:g} Gy{named}"
    if len(comment) <= _LONGEST_COMMENT:
        return comment
    return f"EQD2, alpha/beta by structure, {options.eqd2_elsewhere_Gy:g} Gy elsewhere"
