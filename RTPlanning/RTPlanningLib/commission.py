"""Commissioning in one call: measurements and a base machine in; machine file, page and curves out, in one folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from DoseEngineLib.commissioning.fit import CommissioningResult, commission
from DoseEngineLib.commissioning.measurements import read_measurements
from DoseEngineLib.errors import MachineError
from DoseEngineLib.machine import load_machine
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.output_folder import OutputFolder
from RTPlanningLib.report.commissioning_report import curves_csv, render_commissioning_report

PAGE, CURVES = "commissioning.html", "curves.csv"


@dataclass(frozen=True, eq=False)
class CommissioningOutput:
    """A commissioning and the files it wrote."""

    folder: Path
    files: tuple[Path, ...]
    result: CommissioningResult

    def headlines(self) -> list[str]:
        """The main numbers in words: parameters, then curves."""
        result = self.result
        lines = [f"{result.machine.name} from {result.base.name}, {len(result.curves)} curves:"]
        for p in result.parameters:
            change = (
                f"{p.base:.4g} -> {p.value:.4g} +- {p.uncertainty:.2g} {p.unit}".rstrip()
                if p.determined
                else f"{p.base:.4g} {p.unit}".rstrip()
            )
            lines.append(f"  {p.label}: {change}" + (f" ({p.note})" if p.note else ""))
        for c in result.curves:
            lines.append(
                f"  {c.curve.title}: RMS {c.rms_before_percent:.2f} -> {c.rms_percent:.2f} %, "
                f"gamma 1 %/1 mm {c.passed_percent((1.0, 1.0)):.1f} %, 2 %/2 mm {c.passed_percent((2.0, 2.0)):.1f} %"
            )
        return lines


def commission_to_folder(
    measurements: str | Path,
    base_machine: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    centre_profiles: bool = False,
    robust: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> CommissioningOutput:
    """Fit a machine to measurements and write ``<name>.json``, ``commissioning.html`` and ``curves.csv``.

    Parameters
    ----------
    measurements : path
        A file or folder; see `DoseEngineLib.commissioning.measurements.read_measurements`.
    base_machine : str or path
        Name or JSON file of the machine to begin from.
    out : path
        Folder for the results; all of them are written or none.
    name, centre_profiles, robust
        See `DoseEngineLib.commissioning.fit.commission`.
    force : bool
        Replace files in the folder that are not an earlier run's own.

    Raises
    ------
    MeasurementError, MachineError, OutputError
    """
    report = part(progress, 0.0, 1.0)
    name = name or f"{load_machine(base_machine).name}_commissioned"
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise MachineError(f"{name!r} is no name of a machine; use letters, digits, '_', '-' and '.'.")
    found = read_measurements(measurements)
    inputs = [Path(measurements)] if Path(measurements).is_file() else [Path(measurements) / f for f in found.files]
    inputs.append(Path(base_machine))
    with OutputFolder(out, force=force, keep=inputs) as output:
        output.check((f"{name}.json", PAGE, CURVES))
        result = commission(
            found,
            base_machine,
            part(report, 0.0, 0.9),
            name=name,
            centre_profiles=centre_profiles,
            robust=robust,
        )
        report(0.92, "Drawing the curves")
        (output.staging / f"{name}.json").write_text(result.machine_json, encoding="utf-8", newline="\n")
        (output.staging / CURVES).write_text(curves_csv(result), encoding="utf-8", newline="\n")
        page = render_commissioning_report(result)
        (output.staging / PAGE).write_text(page, encoding="utf-8", newline="\n")
        files = output.commit()
    report(1.0, "Done")
    return CommissioningOutput(output.folder, tuple(files), result)
