"""Reference doses for tests: files as the Monte Carlo references are, with a dose that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

Z_CM = np.arange(60) * 0.5 + 0.25
X_CM = np.arange(-20, 21) * 0.5


def analytic_dose(field_cm: float = 10.0, edge_shift_cm: float = 0.0) -> np.ndarray:
    """A dose [z, y, x] that falls off exponentially, with straight edges 1 cm wide; about 1e-11 Gy cm2."""
    edge = field_cm / 2 + edge_shift_cm
    across = np.clip((edge + 0.5 - np.abs(X_CM)) / 1.0, 0.0, 1.0)
    return 1e-11 * np.exp(-0.04 * Z_CM)[:, None, None] * across[:, None] * across


def write_reference(folder: Path, name: str = "w10", field_cm: float = 10.0, **changed: object) -> Path:
    """Write ``<name>.npz``; ``changed`` replaces arrays, None leaves one out."""
    whole = analytic_dose(field_cm)
    dose = np.asarray(changed.pop("dose3d", whole))
    near = np.abs(X_CM) <= 0.75
    axis_of = dose if dose.shape == whole.shape else whole
    arrays: dict[str, object] = {
        "field_cm": field_cm,
        "z": Z_CM,
        "x": X_CM,
        "axis": axis_of[:, near][:, :, near].mean(axis=(1, 2)),
        "axis_relunc": np.full(Z_CM.size, 0.003),
        "axis_halfwidth_cm": 0.75,
        "common_mode_relunc": 0.004,
        "dose3d": dose.astype(np.float32),
    }
    arrays.update(changed)
    path = folder / f"{name}.npz"
    np.savez_compressed(path, **{key: value for key, value in arrays.items() if value is not None})
    return path
