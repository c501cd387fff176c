"""Every shipped exercise can be passed by doing what it asks for, and says what is missing until then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from DoseEngineLib.plan import Prescription
from RTPlanningLib.exercises.exercise import StepResult, available_exercises, load_exercise
from RTPlanningLib.plan_templates import conformal_request
from RTPlanningLib.samples import load_sample

SPACING_MM = 6.0


class Learner:
    """Works through an exercise with the logic alone, on coarse grids."""

    def __init__(self, scene, name: str) -> None:
        from RTPlanningLib.logic import RTPlanningLogic

        self.logic = RTPlanningLogic(scene)
        self.exercise = load_exercise(name)
        self.case = None
        self.volumeNode = self.segmentationNode = self.planNode = None

    def load_case(self, name: str | None = None) -> None:
        self.case = load_sample(name or self.exercise.case, 5.0)
        self.volumeNode, self.segmentationNode = self.logic.loadCase(self.case)
        self.planNode = None

    def make_plan(self, name: str, gantry_deg, dose_Gy: float, fractions: int, **options) -> None:
        changes = {key: options.pop(key) for key in ("engine_options",) if key in options}
        options = {"margin_mm": 8.0, "spacing_mm": SPACING_MM, **options}
        plan = conformal_request("PTV", dose_Gy, fractions, gantry_deg, **options).build(self.case)
        plan = replace(plan, name=name, **changes)
        self.planNode = self.logic.createPlan(plan, self.volumeNode, self.segmentationNode)

    def copy_plan(self, name: str, **changes) -> None:
        plan = replace(self.logic.planFromNode(self.planNode), name=name, **changes)
        self.planNode = self.logic.createPlan(plan, self.volumeNode, self.segmentationNode)

    def calculate(self) -> None:
        self.logic.calculateDose(self.planNode)

    def check(self, step: int) -> StepResult:
        return self.logic.checkExercise(self.exercise, step, self.planNode, self.volumeNode, self.segmentationNode)

    def passes(self, step: int) -> StepResult:
        result = self.check(step)
        assert result.passed, [finding for finding in result.findings if not finding.passed]
        assert result.advice == result.step.look_at
        return result

    def fails(self, step: int, *texts: str) -> StepResult:
        """The step is not passed, and what it says holds these texts."""
        result = self.check(step)
        assert not result.passed
        assert result.advice[-1] == result.step.hint
        for finding in result.findings:
            assert finding.found
            assert finding.passed or finding.to_do
        said = " ".join([finding.found for finding in result.findings] + list(result.advice))
        for text in texts:
            assert text in said, said
        return result


@pytest.mark.parametrize("name", available_exercises())
def test_nothing_is_passed_before_anything_is_done(scene, name: str) -> None:
    learner = Learner(scene, name)
    learner.fails(0, "No case is loaded", learner.exercise.case)
    for step in range(1, len(learner.exercise.steps)):
        learner.fails(step, "No plan is chosen")
    other = "water-tank"
    learner.load_case(other)
    learner.fails(0, f"The case is {other}", learner.exercise.case)
    learner.load_case()
    learner.passes(0)


def test_four_field_box(scene) -> None:
    learner = Learner(scene, "four-field-box")
    learner.load_case()
    learner.passes(0)
    learner.make_plan("Three fields", (0, 90, 270), 70.0, 35)
    learner.fails(1, "prescribes 70 Gy in 35 fractions to PTV", "Prescribe 75.6 Gy", "Add a field at 180 degrees")
    learner.make_plan("Tight", (0, 90, 180, 270), 75.6, 42, margin_mm=0.0)
    learner.passes(1)
    learner.fails(2, "Tight has no dose yet", "Calculate the dose.")
    learner.fails(3, "Calculate the dose")
    learner.calculate()
    learner.passes(2)
    learner.fails(3, "Aim at PTV D95% >= 95 %", "widen the margin")
    learner.make_plan("Box", (360, 90, 180, -90), 75.6, 42)
    learner.calculate()
    result = learner.passes(3)
    assert "PTV D95% is 97.9" in result.findings[1].found
    # a plan that was changed since is not judged by its former dose
    changed = replace(learner.logic.planFromNode(learner.planNode), dose_grid_spacing_mm=7.0)
    learner.logic.updatePlan(learner.planNode, changed)
    learner.fails(2, "was changed after its dose was calculated")


def test_opposed_or_four_fields(scene) -> None:
    learner = Learner(scene, "opposed-or-four-fields")
    learner.load_case()
    learner.make_plan("Sides", (90, 270), 75.6, 42)
    learner.fails(1, "Add a field at 0 and 180 degrees. Remove the field at 90 and 270 degrees")
    learner.make_plan("Two", (0, 180), 75.6, 42)
    learner.calculate()
    learner.passes(1)
    learner.fails(3, "none is a plan of two opposed fields", "Add a field at 90 and 270 degrees")
    opposed = learner.planNode
    learner.make_plan("Other dose", (0, 90, 180, 270), 50.0, 25)
    learner.calculate()
    learner.fails(2, "differ in prescription", "copy Two")
    learner.make_plan("Four", (0, 90, 180, 270), 75.6, 42)
    learner.fails(3, "Calculate the dose of Four")
    learner.calculate()
    learner.passes(2)
    result = learner.passes(3)
    assert "cc in Four" in result.findings[1].found
    assert "cc in Two (-7" in result.findings[1].found
    # with the wrong plan chosen it is said which one is judged
    learner.planNode = opposed
    learner.fails(3, "Two has gantry angles of 0 and 180 degrees")


def test_lung_with_and_without_heterogeneity_correction(scene) -> None:
    learner = Learner(scene, "lung-heterogeneity")
    learner.load_case()
    learner.make_plan("First", (0, 180, 270), 60.0, 30)
    learner.calculate()
    learner.fails(1, "Heterogeneity correction is on", "Set Heterogeneity correction to off")
    learner.fails(2, "switched off as a plan of its own first")
    learner.copy_plan("In water", engine_options={"heterogeneity": False})
    learner.calculate()
    learner.passes(1)
    learner.make_plan("Wide", (0, 180, 270), 60.0, 30, margin_mm=15.0)
    learner.calculate()
    learner.fails(2, "differ in apertures")
    learner.make_plan("CT", (0, 180, 270), 60.0, 30)
    learner.calculate()
    result = learner.passes(2)
    assert "MU in In water (-9" in result.findings[-1].found
    assert "PTV D95%[%]" in learner.passes(3).findings[-1].found


def test_fractionation_and_eqd2(scene) -> None:
    learner = Learner(scene, "fractionation-eqd2")
    learner.load_case()
    learner.make_plan("Standard", (0, 90, 180, 270), 74.0, 37)
    learner.calculate()
    learner.passes(1)
    learner.fails(2, "Prescribe 60 Gy in 20 fractions")

    def schedule(name: str, dose_Gy: float, fractions: int) -> None:
        learner.copy_plan(name, prescription=Prescription(dose_Gy, fractions, "PTV"))

    schedule("Short", 60.0, 20)
    learner.fails(3, "Calculate the dose of Short")
    learner.calculate()
    result = learner.passes(2)
    # 60 (3 + 3) / 5 = 72 Gy of late effect, 60 (3 + 1.4) / 3.4 = 77.65 Gy of the tumour's
    assert "72 Gy in Short, 74 Gy in Standard" in result.findings[-2].found
    assert "77.65 Gy in Short, 74 Gy in Standard" in result.findings[-1].found
    learner.passes(3)
    schedule("Too much", 40.0, 5)
    learner.fails(4, "EQD2", "88.00 Gy in Too much", "lower the dose")
    schedule("Five", 36.25, 5)
    assert "74.31 Gy in Five" in learner.passes(4).findings[-1].found


@pytest.mark.slow
def test_imrt_c_shape(scene) -> None:
    from OptimizerLib.fluence_planning import FluenceSettings
    from OptimizerLib.planning_goals import PlanningGoals

    learner = Learner(scene, "imrt-c-shape")
    learner.load_case()
    learner.make_plan("Plain", range(0, 360, 40), 50.0, 25, normalization="D95", spacing_mm=8.0)
    learner.calculate()
    learner.passes(1)
    learner.fails(2, "1 aperture in every field", "Optimize the fluence")

    def optimize(name: str, core: str) -> None:
        learner.copy_plan(name)
        rows = ["PTV uniform 51.5 Gy, weight 100", core, "External falloff 50 Gy -> 15 Gy in 30 mm from PTV, weight 5"]
        settings = FluenceSettings(bixel_mm=12.0, iterations=20, corrections=0, refine=False)
        learner.logic.optimizeFluence(learner.planNode, PlanningGoals.from_entries(rows), settings)

    optimize("Modulated", "Core Max <= 20 Gy, weight 20")
    learner.passes(2)
    learner.fails(3, "none is an earlier plan with modulated fluence")
    optimize("Harder", "Core Max <= 8 Gy, weight 200")
    result = learner.passes(3)
    assert "Core D10%" in result.findings[-1].found
