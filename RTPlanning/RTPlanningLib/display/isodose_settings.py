"""Isodose levels as a person sets them: a value in % of a reference dose or in Gy, a colour, shown or not."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from DoseEngineLib.errors import EvaluationError, SchemaError
from RTPlanningLib.display.isodose_levels import DEFAULT_PERCENT_COLORS, IsodoseLevel, default_levels

PERCENT, GY = "%", "Gy"
UNITS = (PERCENT, GY)
_SCHEMA = 1
# A dose in Gy that differs from another by less is the same level.
_SAME_GY = 1e-6


@dataclass(frozen=True)
class IsodoseSetting:
    """One isodose level as it is set.

    Attributes
    ----------
    value : float
        Above 0.
    unit : {"%", "Gy"}
        % are those of a reference dose, normally the prescription.
    color : (3,) tuple of float
        RGB in 0..1.
    visible : bool
    """

    value: float
    unit: str = PERCENT
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    visible: bool = True

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise EvaluationError(f"An isodose level is in {' or '.join(UNITS)}, not in {self.unit!r}.")
        if not math.isfinite(self.value) or self.value <= 0.0:
            raise EvaluationError(f"An isodose level must be above 0; got {self.value:g} {self.unit}.")
        if len(self.color) != 3 or not all(0.0 <= channel <= 1.0 for channel in self.color):
            raise EvaluationError(f"The colour of an isodose level is RGB in 0..1; got {self.color}.")

    def dose_Gy(self, reference_Gy: float | None) -> float:
        """Return the level's dose in Gy; one in % without a reference raises `EvaluationError`."""
        if self.unit == GY:
            return float(self.value)
        if reference_Gy is None or not math.isfinite(reference_Gy) or reference_Gy <= 0.0:
            raise EvaluationError(
                f"The isodose level {self.value:g} % needs a prescribed dose that it is percent of; prescribe one, or "
                "give the level in Gy."
            )
        return float(self.value * reference_Gy / 100.0)

    def level(self, reference_Gy: float | None) -> IsodoseLevel:
        """Return the level as it is drawn."""
        dose = self.dose_Gy(reference_Gy)
        label = f"{dose:.4g} Gy" if self.unit == GY else f"{self.value:g} % = {dose:.4g} Gy"
        return IsodoseLevel(dose, label, self.color)


def default_settings(prescription_Gy: float | None, maximum_Gy: float) -> tuple[IsodoseSetting, ...]:
    """Return the clinical default levels: in % of the prescription, or, without one, round doses below the maximum."""
    if prescription_Gy is not None:
        return tuple(IsodoseSetting(percent, PERCENT, color) for percent, color in DEFAULT_PERCENT_COLORS.items())
    return tuple(IsodoseSetting(level.dose_Gy, GY, level.color) for level in default_levels(None, maximum_Gy))


def visible_levels(settings: Iterable[IsodoseSetting], reference_Gy: float | None) -> tuple[IsodoseLevel, ...]:
    """Return the levels that are shown, the highest first.

    Raises
    ------
    EvaluationError
        A level in % without a reference, or two levels at the same dose.
    """
    levels = sorted(
        (setting.level(reference_Gy) for setting in settings if setting.visible),
        key=lambda level: level.dose_Gy,
        reverse=True,
    )
    for higher, lower in zip(levels, levels[1:]):
        if higher.dose_Gy - lower.dose_Gy < _SAME_GY:
            raise EvaluationError(
                f"The isodose levels {higher.label} and {lower.label} are the same dose; change or remove one."
            )
    return tuple(levels)


def next_setting(settings: Sequence[IsodoseSetting]) -> IsodoseSetting:
    """Return a level to add below the lowest one of these, in its unit and a colour that is not used yet."""
    used = {setting.color for setting in settings}
    free = [color for color in DEFAULT_PERCENT_COLORS.values() if color not in used]
    color = free[-1] if free else (1.0, 1.0, 1.0)
    if not settings:
        return IsodoseSetting(100.0, PERCENT, color)
    lowest = min(settings, key=lambda setting: setting.value)
    taken = {setting.value for setting in settings if setting.unit == lowest.unit}
    value = float(f"{lowest.value / 2.0:.2g}")
    while value in taken:
        value /= 2.0
    return IsodoseSetting(value, lowest.unit, color)


def settings_to_json(settings: Iterable[IsodoseSetting]) -> str:
    """Write levels as JSON text."""
    return json.dumps({"schema_version": _SCHEMA, "levels": [asdict(setting) for setting in settings]})


def settings_from_json(text: str) -> tuple[IsodoseSetting, ...]:
    """Read levels from JSON text.

    Raises
    ------
    SchemaError
        Damaged, or written by a newer version.
    """
    try:
        data = json.loads(text)
        version = data["schema_version"]
        rows = [{**row, "color": tuple(row["color"])} for row in data["levels"]] if version == _SCHEMA else []
        settings = tuple(IsodoseSetting(**row) for row in rows)
    except (ValueError, TypeError, KeyError, EvaluationError) as error:
        raise SchemaError(f"The stored isodose levels are damaged ({error}); reset them to the defaults.") from error
    if version != _SCHEMA:
        raise SchemaError(
            f"The stored isodose levels have schema version {version}; this version of RTPlanning reads {_SCHEMA}. "
            "Update RTPlanning, or reset them to the defaults."
        )
    return settings
