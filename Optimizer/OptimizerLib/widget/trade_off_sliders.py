"""Sliders that navigate between Pareto plans: each moved one carries the others along, within live limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import qt
from slicer.i18n import tr as _

from DoseEngineLib.widget.connectors import quiet
from OptimizerLib.mrml.pareto_nodes import SliderState
from OptimizerLib.multicriteria.navigation import Navigator
from OptimizerLib.pareto_plans import ParetoPlans
from OptimizerLib.voxel_dvh import dvh_curves

_STEPS = 1000
_NAME, _SLIDER, _VALUE, _HOLD = range(4)


class TradeOffSliders:
    """A slider a goal over the plans of a front.

    Parameters
    ----------
    area : QWidget
        Empty; the sliders fill it.
    moved : callable
        Called when a person moved a slider or held a goal.
    """

    def __init__(self, area: Any, moved: Callable[[], None]) -> None:
        self._area = area
        self._moved = moved
        self._layout = qt.QGridLayout(area)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setColumnStretch(_SLIDER, 1)
        self._sliders: list[Any] = []
        self._values: list[Any] = []
        self._holds: list[Any] = []
        self._widgets: list[Any] = []
        self.plans: ParetoPlans | None = None
        self.navigator: Navigator | None = None

    def show(self, plans: ParetoPlans | None) -> None:
        """Navigate between other plans, from the most balanced mixture on; None: between none."""
        if plans is self.plans:
            return
        self.plans = plans
        self.navigator = None if plans is None else Navigator(plans.front)
        for widget in self._widgets:
            self._layout.removeWidget(widget)
            widget.hide()
            widget.deleteLater()
        self._sliders, self._values, self._holds, self._widgets = [], [], [], []
        if plans is None:
            return
        for number, goal in enumerate(plans.front.goals):
            self._addGoal(number, goal)
        self._showPosition()

    def restore(self, state: SliderState | None) -> None:
        """Put the sliders where they stood; None: leaves them.

        Raises
        ------
        OptimizationError
            A state that is none of these plans; the sliders are left then.
        """
        if state is None:
            return
        self.navigator.restore(np.array(state.shares), np.array(state.bounds))
        for hold, bound in zip(self._holds, state.bounds, strict=True):
            with quiet(hold):
                hold.setChecked(bool(np.isfinite(bound)))
        self._showPosition()

    def state(self) -> SliderState:
        """Where the sliders stand."""
        return SliderState(tuple(self.navigator.position.shares.tolist()), tuple(self.navigator.bounds.tolist()))

    def curves(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """DVHs of the mixture: doses (points,) in Gy, and volumes (points,) in % of each structure."""
        shares = self.navigator.position.shares
        front = self.plans.front
        return dvh_curves(
            {name: (front.mixed_dose_Gy(shares, name), volumes) for name, volumes in self.plans.volumes_of.items()}
        )

    def sliderOf(self, goal: str) -> Any:
        """The slider of a goal."""
        return self._sliders[self.plans.front.goals.index(goal)]

    def holdOf(self, goal: str) -> Any:
        """The check box that holds a goal where it is at most."""
        return self._holds[self.plans.front.goals.index(goal)]

    def textOf(self, goal: str) -> str:
        """What stands beside the slider of a goal."""
        return str(self._values[self.plans.front.goals.index(goal)].property("text"))

    def _addGoal(self, number: int, goal: str) -> None:
        name, value = qt.QLabel(goal), qt.QLabel()
        slider = qt.QSlider(qt.Qt.Horizontal)
        slider.setRange(0, _STEPS)
        slider.setToolTip(
            _("{goal}: further left is better; the other goals give way as little as they can").format(goal=goal)
        )
        hold = qt.QCheckBox(_("Hold"))
        hold.setToolTip(_("{goal} may get better, but not worse than now").format(goal=goal))
        slider.valueChanged.connect(lambda position: self._onSlider(number, int(position)))
        # while it is dragged it stays under the mouse, beyond what is possible too
        slider.sliderReleased.connect(self._showPosition)
        hold.toggled.connect(lambda held: self._onHold(number, bool(held)))
        for column, widget in ((_NAME, name), (_SLIDER, slider), (_VALUE, value), (_HOLD, hold)):
            self._layout.addWidget(widget, number, column)
            self._widgets.append(widget)
        self._sliders.append(slider)
        self._values.append(value)
        self._holds.append(hold)

    def _range(self, number: int) -> tuple[float, float]:
        """Value of a goal at the ends of its slider."""
        values = self.plans.front.values[:, number]
        low, high = float(values.min()), float(values.max())
        return low, high if high > low else low + max(abs(low), 1.0) * 1e-3

    def _onSlider(self, number: int, position: int) -> None:
        low, high = self._range(number)
        self.navigator.move(number, low + position / _STEPS * (high - low))
        self._showPosition()
        self._moved()

    def _onHold(self, number: int, held: bool) -> None:
        if held:
            self.navigator.lock(number)
        else:
            self.navigator.set_bound(number, None)
        self._showPosition()
        self._moved()

    def _showPosition(self, *_unused: object) -> None:
        values = self.navigator.position.values
        for number, (slider, label) in enumerate(zip(self._sliders, self._values)):
            low, high = self._range(number)
            least, most = self.navigator.reach(number)
            label.setText(
                _("{value:.3g}  ({least:.3g} to {most:.3g})").format(value=values[number], least=least, most=most)
            )
            label.setToolTip(_("Value at most, smaller is better; in brackets what can be reached"))
            if not slider.property("sliderDown"):
                with quiet(slider):
                    slider.setValue(round(_STEPS * (float(values[number]) - low) / (high - low)))
