"""The teaching mode: guided exercises, step by step, checked on the learner's own plans."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

import qt
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from DoseEngineLib.verdict_colors import verdict_color
from DoseEngineLib.widget.connectors import quiet
from DoseEngineLib.widget.text_table import isDark, setColor
from RTPlanningLib.display.colors import hex_color
from RTPlanningLib.exercises.exercise import Exercise, StepResult, available_exercises, load_exercise
from RTPlanningLib.widget.step import Step

_PASSED, _NOT_YET = ("✓", "passed"), ("✗", "failed")


@parameterNodeWrapper
class ExerciseParameters:
    """Where the learner is.

    Attributes
    ----------
    exercise : str
        Name of the chosen exercise, empty for none.
    currentSteps : dict of str to int
        The step that is shown of every exercise that was begun, from 0.
    passedSteps : list of str
        Steps passed, each as exercise and number: "four-field-box/0".
    """

    exercise: str = ""
    currentSteps: dict[str, int]
    passedSteps: list[str]


class ExerciseStep(Step):
    """Shows an exercise's step, checks it and keeps what was passed."""

    uiName = "ExerciseStep"
    Parameters = ExerciseParameters

    def __init__(self, ui: Any, session: Any) -> None:
        super().__init__(ui, session)
        self._exercises = {name: load_exercise(name) for name in available_exercises()}
        self._result: StepResult | None = None
        self._resultOf: tuple | None = None
        ui.exerciseCombo.addItem(_("None: plan freely"), "")
        for name, exercise in self._exercises.items():
            ui.exerciseCombo.addItem(_(exercise.title), name)
        ui.exerciseCombo.currentIndexChanged.connect(self.onExerciseChosen)
        ui.exerciseStepsList.currentRowChanged.connect(self.onStepChosen)
        ui.exerciseBackButton.clicked.connect(self.onBack)
        ui.exerciseNextButton.clicked.connect(self.onNext)
        ui.exerciseCheckButton.clicked.connect(self.onCheck)

    def connectParameters(self) -> None:
        """Bind the chosen exercise."""
        self.bind({"exercise": self.ui.exerciseCombo})
        self._result = self._resultOf = None
        self._show()

    def update(self) -> None:
        """Say when the plan is no longer the one that was checked."""
        self._showResult()

    # What is shown

    @property
    def exercise(self) -> Exercise | None:
        """The chosen exercise, or None."""
        combo = self.ui.exerciseCombo
        return self._exercises.get(combo.itemData(combo.property("currentIndex")))

    @property
    def stepNumber(self) -> int:
        """Number of the step that is shown, from 0."""
        if self.exercise is None:
            return 0
        return min(self.parameters.currentSteps.get(self.exercise.name) or 0, len(self.exercise.steps) - 1)

    def onExerciseChosen(self, *_unused: object) -> None:
        """Show the exercise where it was left."""
        if self.parameters is not None:
            self._result = self._resultOf = None
            self._show()

    def onStepChosen(self, row: int) -> None:
        """Go to a step."""
        if self.exercise is not None and row >= 0 and row != self.stepNumber:
            self.parameters.currentSteps[self.exercise.name] = int(row)
            self._result = self._resultOf = None
            self._show()

    def onBack(self, *_unused: object) -> None:
        """Go to the step before."""
        self.onStepChosen(self.stepNumber - 1)

    def onNext(self, *_unused: object) -> None:
        """Go to the step after."""
        if self.exercise is not None and self.stepNumber + 1 < len(self.exercise.steps):
            self.onStepChosen(self.stepNumber + 1)

    def onCheck(self, *_unused: object) -> None:
        """Check what was made against the step."""
        exercise, number, session = self.exercise, self.stepNumber, self.session
        if exercise is None:
            return

        def work(progress: Any) -> StepResult:
            return session.logic.checkExercise(
                exercise, number, session.planNode, session.volumeNode, session.segmentationNode, progress
            )

        def done(result: StepResult) -> str:
            return _("Passed: {step}.").format(step=_(result.step.title)) if result.passed else _("Not yet.")

        checkedOf = self._stateChecked()
        result = session.run(work, done)
        if result is None:
            return
        self._result, self._resultOf = result, checkedOf
        key = f"{exercise.name}/{number}"
        if result.passed and key not in self.parameters.passedSteps:
            self.parameters.passedSteps.append(key)
        self._show()

    def _stateChecked(self) -> tuple:
        session = self.session
        volumeNode, planNode = session.volumeNode, session.planNode
        return (volumeNode and volumeNode.GetID(), planNode and planNode.GetID(), session.plan)

    def _show(self) -> None:
        ui, exercise = self.ui, self.exercise
        steps = exercise.steps if exercise is not None else ()
        with quiet(ui.exerciseStepsList):
            ui.exerciseStepsList.clear()
            for number, step in enumerate(steps):
                mark, verdict = _PASSED if self._isPassed(number) else ("○", "")
                item = qt.QListWidgetItem(f"{mark} {number + 1}. {_(step.title)}")
                color = verdict_color(verdict, dark=isDark(ui.exerciseStepsList))
                if color is not None:
                    setColor(item, color, bold=False)
                ui.exerciseStepsList.addItem(item)
            ui.exerciseStepsList.setCurrentRow(self.stepNumber if steps else -1)
        for widget in (ui.exerciseStepsList, ui.exerciseBackButton, ui.exerciseCheckButton, ui.exerciseNextButton):
            widget.setVisible(exercise is not None)
        ui.exerciseResultText.setVisible(exercise is not None)
        ui.exerciseBackButton.setEnabled(self.stepNumber > 0)
        ui.exerciseNextButton.setEnabled(self.stepNumber + 1 < len(steps))
        ui.exerciseText.setHtml(_invitation(self._exercises.values()) if exercise is None else self._stepHtml(exercise))
        passed = sum(self._isPassed(number) for number in range(len(steps)))
        ui.exerciseProgressLabel.setText(
            _("{passed} of {all} steps passed.").format(passed=passed, all=len(steps)) if steps else ""
        )
        self._showResult()

    def _isPassed(self, number: int) -> bool:
        return f"{self.exercise.name}/{number}" in self.parameters.passedSteps

    def _stepHtml(self, exercise: Exercise) -> str:
        number = self.stepNumber
        step = exercise.steps[number]
        parts = [f"<h4>{_escaped(step.title)}</h4>"]
        if number == 0:
            parts.append(f"<p><i>{_escaped('What is learned')}</i></p>{_list(exercise.learned)}")
        parts += [f"<p>{_escaped(step.text)}</p>", f"<p><b>{_escaped(step.task)}</b></p>"]
        if number == len(exercise.steps) - 1:
            parts.append(f"<p><i>{_escaped('To read on')}</i></p>{_list(exercise.sources)}")
        return "".join(parts)

    def _showResult(self) -> None:
        result, browser = self._result, self.ui.exerciseResultText
        if result is None:
            told = _("Do the task, choose the plan that is to be checked at the top of the panel, and press Check.")
            browser.setHtml(f"<p>{_escaped(told)}</p>")
            return
        parts = []
        if self._stateChecked() != self._resultOf:
            told = _("The plan was changed or another one chosen since; press Check again.")
            parts.append(f"<p><i>{_escaped(told)}</i></p>")
        for finding in result.findings:
            mark, verdict = _PASSED if finding.passed else _NOT_YET
            color = hex_color(verdict_color(verdict, dark=isDark(browser)))
            parts.append(f'<p><span style="color:{color}">{mark}</span> {_escaped(finding.found)}</p>')
        title = _("Now look at this") if result.passed else _("What to do")
        parts.append(f"<p><b>{_escaped(title)}</b></p>{_list(result.advice)}")
        browser.setHtml("".join(parts))


def _invitation(exercises: Iterable[Exercise]) -> str:
    told = _("Choose an exercise. Each leads from a sample case to a plan of your own, and checks it at every step:")
    return f"<p>{_escaped(told)}</p>{_list(exercise.title for exercise in exercises)}"


def _list(texts: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{_escaped(text)}</li>" for text in texts) + "</ul>"


def _escaped(text: str) -> str:
    """Translate and escape; what is translated already has no further translation."""
    return html.escape(_(text), quote=False)
