"""How the step Beams changes a plan: at once where that is quick, else as an action with progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from slicer.i18n import tr as _

from DoseEngineLib.errors import PlanError, PlanningError
from DoseEngineLib.mrml.plan_node import planFromNode, planNodes
from DoseEngineLib.plan import Beam, Plan, Prescription, Structure
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.packages import DOSE_PACKAGES, missingPackages
from RTPlanningLib.beam_arrangement import arc_beam, conformal_fields, target_isocenter_RAS_mm
from RTPlanningLib.beam_editing import DEFAULT_MU, beam_named, free_name
from RTPlanningLib.beam_fit import BeamFit, fit_beam, fit_plan
from RTPlanningLib.mrml.beam_fit_nodes import beamFits, setPlanAndFits
from RTPlanningLib.mrml.case_nodes import patientPosition
from RTPlanningLib.mrml.structure_reader import StructureReader
from RTPlanningLib.plan_file import DEFAULT_ENGINE, DEFAULT_SPACING_MM
from RTPlanningLib.widget.session import PlanningSession
from RTPlanningLib.widget.with_packages import withPackages

Fits = dict[str, BeamFit]


class BeamsEditor:
    """Changes the session's plan, with beams that follow the target fitted anew.

    Parameters
    ----------
    session : PlanningSession
    reader : StructureReader
    chosenTarget : callable
        Name of the target that a person chose, empty where there is none.
    show : callable
        Shows the plan after a change, and after one that was refused.
    """

    def __init__(
        self,
        session: PlanningSession,
        reader: StructureReader,
        chosenTarget: Callable[[], str],
        show: Callable[[], None],
    ) -> None:
        self._session = session
        self._reader = reader
        self._chosenTarget = chosenTarget
        self._show = show
        self._packagesFound = False

    # What is asked for

    def hasPackages(self) -> bool:
        """Whether machines can be read; once they are there, packages stay."""
        if not self._packagesFound:
            self._packagesFound = not missingPackages(DOSE_PACKAGES)
        return self._packagesFound

    def fits(self) -> Fits:
        """Return which beams follow the target; none where that cannot be read, which the next change says."""
        try:
            planNode = self._session.planNode
            return beamFits(planNode, self.presentTarget(planFromNode(planNode)))
        except PlanningError:
            return {}

    def target(self, plan: Plan | None = None) -> Structure:
        """Return the target of a plan, or the one chosen; `PlanningError` where there is none."""
        name = plan.prescription.target if plan is not None and plan.prescription is not None else None
        name = name or self._chosenTarget()
        if not name:
            raise PlanError(_("Choose the target that the beams shall be aimed at."))
        return self._reader.structure(self._session.volumeNode, self._session.segmentationNode, name)

    def presentTarget(self, plan: Plan) -> Structure | None:
        """Return the target of a plan where it is there, to compare it with what beams were fitted to."""
        session = self._session
        if plan.prescription is None or not plan.prescription.target:
            return None
        found = self._reader.structures(session.volumeNode, session.segmentationNode, [plan.prescription.target])
        return found[0] if found else None

    def prescription(self) -> Prescription:
        """Return what is prescribed where there is no plan yet."""
        settings = self._session.settings
        dose_Gy, target = settings.prescribedDose_Gy, self._chosenTarget() or None
        return Prescription(dose_Gy, settings.fractions, target, settings.normalization)

    # Changes

    def edit(
        self,
        change: Callable[[Plan], Plan],
        *,
        refit: Sequence[str] = (),
        fits: Callable[[Fits], Fits] = dict,
        said: str = "",
    ) -> bool:
        """Change the plan at once and fit the named beams that follow the target; errors go to the status line.

        Parameters
        ----------
        change : callable
        refit : sequence of str
            Names of beams in the changed plan.
        fits : callable
            Changes which beams follow the target, and with what margin.
        said : str
            Text for the status line.

        Returns
        -------
        bool
            Whether the plan was changed.
        """
        session = self._session
        planNode = session.planNode
        if planNode is None or session.isRunning:
            return False
        if not self.hasPackages():
            session.run(withPackages(lambda progress: None), "")
        try:
            before = planFromNode(planNode)
            followers = fits(beamFits(planNode, self.presentTarget(before)))
            former = fits(beamFits(planNode, changedToo=True))
            plan = change(before)
            names = [name for name in refit if name in followers]
            if any(not beam_named(plan, name).is_static for name in names):
                # many control points: with progress, and events turning
                result = session.run(
                    lambda progress: self._store(self._fitted(plan, followers, names, progress), followers, former),
                    said or _("Fitted {names} to the target.").format(names=", ".join(names)),
                )
                return result is not None
            self._store(self._fitted(plan, followers, names), followers, former)
        except PlanningError as error:
            session.say(str(error))
            self._show()
            return False
        if said:
            session.say(said)
        self._show()
        return True

    def refit(self) -> None:
        """Fit all beams anew that follow the target, or did."""
        planNode = self._session.planNode

        def work(progress: Progress) -> int:
            fits = beamFits(planNode, changedToo=True)
            self._store(self._fitted(planFromNode(planNode), fits, list(fits), progress), fits)
            return len(fits)

        self._session.run(withPackages(work), lambda count: _("Fitted {count} beams anew.").format(count=count))

    def aimAt(self, target: str) -> None:
        """Prescribe to another target, and turn the beams that follow the target to it."""
        planNode = self._session.planNode

        def work(progress: Progress) -> None:
            plan = planFromNode(planNode)
            fits = beamFits(planNode, changedToo=True)
            plan = replace(plan, prescription=replace(plan.prescription or self.prescription(), target=target))
            self._store(self._fitted(plan, fits, list(fits), progress), fits)
            self._session.settings.target = target

        self._session.run(withPackages(work), _("The target is {name} now.").format(name=target))

    def arrange(self, angles: Callable[[], Sequence[float]], fit: BeamFit, name: str) -> None:
        """Make fields from these gantry angles: a new plan, or in place of the beams of the one that is there.

        Parameters
        ----------
        angles : callable
            Returns gantry angles in degrees.
        fit : BeamFit
        name : str
            Of a new plan.
        """
        session = self._session

        def work(progress: Progress) -> str:
            plan = session.plan
            target, gantry_deg = self.target(), angles()
            options = {
                "machine": session.settings.machine,
                "patient_position": self._position(plan),
                "meterset_MU": self._newMeterset(plan),
            }
            beams = session.logic.background(
                lambda report: conformal_fields(target, gantry_deg, fit, progress=report, **options), progress
            )
            fits = {beam.name: fit for beam in beams}
            if plan is None:
                plan = self._create(beams, name, target, fits)
                said = _("Made plan {name}: {count} beams fitted to {target}.")
            else:
                self._store(replace(plan, beams=beams, prescription=plan.prescription or self.prescription()), fits)
                said = _("Plan {name} has {count} beams fitted to {target} now.")
            return said.format(name=plan.name, count=len(beams), target=target.name)

        session.run(withPackages(work), lambda text: text)

    def addArc(self, angles: Callable[[], Sequence[float]], fit: BeamFit) -> str | None:
        """Add an arc with control points at these gantry angles, where there is no plan in a new one.

        Returns
        -------
        str or None
            The arc's name; None where it was not added.
        """
        session = self._session

        def work(progress: Progress) -> str:
            plan = session.plan
            target, position = self.target(), self._position(plan)
            name = _("Arc {number}").format(number=1 if plan is None else len(plan.beams) + 1)
            arc = arc_beam(
                name if plan is None else free_name(plan, name),
                angles(),
                machine=session.settings.machine,
                isocenter_RAS_mm=target_isocenter_RAS_mm(target) if plan is None else plan.beams[0].isocenter_RAS_mm,
                meterset_MU=self._newMeterset(plan),
            )
            arc = session.logic.background(lambda report: fit_beam(arc, fit, target, position, report), progress)
            if plan is None:
                self._create((arc,), name, target, {arc.name: fit})
            else:
                followers = beamFits(session.planNode, target)
                former = beamFits(session.planNode, changedToo=True)
                self._store(replace(plan, beams=(*plan.beams, arc)), {**followers, arc.name: fit}, former)
            return arc.name

        return session.run(withPackages(work), lambda name: _("Added {name}.").format(name=name))

    def _fitted(
        self, plan: Plan, fits: Mapping[str, BeamFit], names: Sequence[str], progress: Progress | None = None
    ) -> Plan:
        """The plan with these beams fitted anew: in the background where there is a progress to tell."""
        if not names:
            return plan
        target = self.target(plan)
        if progress is None:
            return fit_plan(plan, fits, target, names)
        return self._session.logic.background(lambda report: fit_plan(plan, fits, target, names, report), progress)

    def _store(self, plan: Plan, fits: Mapping[str, BeamFit], former: Mapping[str, BeamFit] | None = None) -> Plan:
        setPlanAndFits(self._session.planNode, plan, fits, former, self.presentTarget(plan))
        return plan

    def _create(self, beams: Sequence[Beam], name: str, target: Structure, fits: Mapping[str, BeamFit]) -> Plan:
        """Make a plan node for the chosen case."""
        session = self._session
        session.settings.target = target.name
        taken = {node.GetName() for node in planNodes(session.scene)}
        number, unique = 1, name
        while unique in taken:
            number += 1
            unique = f"{name} {number}"
        plan = Plan(
            unique,
            tuple(beams),
            self.prescription(),
            patientPosition(session.volumeNode),
            DEFAULT_ENGINE,
            dose_grid_spacing_mm=DEFAULT_SPACING_MM,
        )
        setPlanAndFits(session.setPlan(plan), plan, fits, target=target)
        return plan

    def _newMeterset(self, plan: Plan | None) -> float | None:
        """MU of new beams where the others carry MU, or where nothing scales weights."""
        hasMU = plan.has_MU if plan is not None else self._session.settings.normalization == "none"
        return DEFAULT_MU if hasMU else None

    def _position(self, plan: Plan | None) -> str:
        return plan.patient_position if plan is not None else patientPosition(self._session.volumeNode)
