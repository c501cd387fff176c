"""The photon validation in one call: reference folder in; page and table out, in one folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from DoseEngineLib.engine import create_engine
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.output_folder import OutputFolder
from RTPlanningLib.report.validation_report import render_validation_report, validation_csv
from RTPlanningLib.validation.comparison import Comparison, compare, gamma_available
from RTPlanningLib.validation.measured_beam import MeasuredComparison, compare_measured
from RTPlanningLib.validation.monte_carlo import ReferenceDataError, calculate, load_reference, reference_names

PAGE, TABLE = "validation.html", "validation.csv"
ENGINES = ("photon-pencil-beam", "photon-collapsed-cone")


@dataclass(frozen=True, eq=False)
class ValidationOutput:
    """A validation and the files it wrote."""

    folder: Path
    files: tuple[Path, ...]
    comparisons: tuple[Comparison, ...]
    measured: tuple[MeasuredComparison, ...]
    notes: tuple[str, ...]

    def headlines(self) -> list[str]:
        """The main numbers in words: a line a case and engine, then the measured data."""
        lines = []
        for c in self.comparisons:
            gamma = "" if c.gamma_rate is None else (
                f", gamma {c.bars.gamma_percent:g} %/{c.bars.gamma_mm:g} mm {100 * c.gamma_rate:.2f} %"
            )  # fmt: skip
            asked = [f for f in c.figures() if f.bar is not None]
            missed = [f.name for f in asked if not f.reached]
            verdict = f"bar missed: {', '.join(missed)}" if missed else "bars reached" if asked else "no bar is set"
            lines.append(
                f"  {c.engine}, {c.reference.name}: axis within {c.largest_percent:.2f} % "
                f"({c.beyond_2_sigma_percent:.2f} % beyond 2 sigma){gamma}; {verdict}"
            )
        for m in self.measured:
            figure = m.figure()
            lines.append(
                f"  {m.machine}, {m.name}: within {figure.value:.2f} {figure.unit}, "
                f"bar {m.bar:g} {'reached' if figure.reached else 'missed'}"
            )
        return lines


def validate_photons_to_folder(
    references: str | Path,
    out: str | Path,
    *,
    engines: Sequence[str] = ENGINES,
    cases: Sequence[str] = (),
    force: bool = False,
    progress: Progress | None = None,
) -> ValidationOutput:
    """Compare engines with Monte Carlo and the generic machine with measured data; write page and table.

    A bar that is missed is a result, no error.

    Parameters
    ----------
    references : path
        Folder of the reference doses; see `RTPlanningLib.validation.monte_carlo`.
    out : path
        Folder for ``validation.html`` and ``validation.csv``; both are written or none.
    engines : sequence of str
        Labels of dose engines.
    cases : sequence of str
        Names of references; all of the folder by default.
    force : bool
        Replace files in the folder that are not an earlier run's own.

    Raises
    ------
    ReferenceDataError, EngineUnavailableError, OutputError
    """
    report = part(progress, 0.0, 1.0)
    made = {label: create_engine(label) for label in engines}
    known, strange = reference_names(references)
    unknown = [name for name in cases if name not in known]
    if unknown:
        raise ReferenceDataError(
            f"{references} holds no reference {', '.join(unknown)}; choose of: {', '.join(known)}."
        )
    names = list(dict.fromkeys(cases)) or known
    # all are read once before the long work, so that a malformed one is told at once
    for name in names:
        load_reference(references, name)
    gamma = gamma_available()
    notes = []
    if strange and not cases:
        notes.append(f"Left out, for their names say nothing known: {', '.join(strange)}.")
    if not gamma:
        notes.append('The gamma index was not calculated, for it needs pymedphys: pip install "rtplanning[validate]".')
    comparisons: list[Comparison] = []
    with OutputFolder(out, force=force) as output:
        output.check((PAGE, TABLE))
        pieces = len(made) * len(names)
        for name in names:
            reference = load_reference(references, name)
            for label in made:
                start, width = 0.9 * len(comparisons) / pieces, 0.9 / pieces
                text = f"{reference.title}: {label}"
                within = part(report, start, start + 0.7 * width)
                begun = time.perf_counter()
                dose = calculate(reference, label, lambda fraction, _, to=within, t=text: to(fraction, t))
                seconds = time.perf_counter() - begun
                report(start + 0.7 * width, f"{text}, comparing")
                comparisons.append(compare(reference, dose, label, gamma=gamma, seconds=seconds))
        measured = compare_measured(part(report, 0.9, 0.95))
        report(0.95, "Drawing the curves")
        page = render_validation_report(comparisons, measured, list(made.values()), notes)
        (output.staging / PAGE).write_text(page, encoding="utf-8", newline="\n")
        (output.staging / TABLE).write_text(validation_csv(comparisons, measured), encoding="utf-8", newline="\n")
        files = output.commit()
    report(1.0, "Done")
    return ValidationOutput(output.folder, tuple(files), tuple(comparisons), measured, tuple(notes))
