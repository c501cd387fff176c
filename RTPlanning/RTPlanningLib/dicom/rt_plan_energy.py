"""Energies as RT Plans state them (nominal energy and fluence mode), and the machine that stands for one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from DoseEngineLib.errors import CaseError, PlanError
from DoseEngineLib.machine import Machine, available_machines, load_machine

# Nominal energy of cobalt-60 by its two lines of 1.17 and 1.33 MeV; writers give one of them or their mean.
_COBALT = "Co-60"
_COBALT_MEV = 1.25
_COBALT_LINES_MEV = (1.17, 1.34)
_LABEL = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*MV(?:\s+(FFF))?\s*$")
# What `choose_machine` takes by itself: the machines of no maker.
_GENERIC = "generic_"


@dataclass(frozen=True)
class BeamEnergy:
    """A photon beam's energy.

    Attributes
    ----------
    nominal_MV : float
        Nominal Beam Energy (300A,0114).
    is_fff : bool
        Without flattening filter: Fluence Mode (3002,0051) NON_STANDARD with the ID FFF.
    """

    nominal_MV: float
    is_fff: bool = False

    def __str__(self) -> str:
        if self.is_cobalt:
            return _COBALT
        return f"{self.nominal_MV:g} MV" + (" FFF" if self.is_fff else "")

    @property
    def is_cobalt(self) -> bool:
        """Whether this is a cobalt-60 beam."""
        return _COBALT_LINES_MEV[0] <= self.nominal_MV <= _COBALT_LINES_MEV[1] and not self.is_fff


def energy_of(machine: Machine) -> BeamEnergy:
    """Return the energy a machine's label says ("6 MV", "10 MV FFF", "Co-60").

    Raises
    ------
    PlanError
        Another label: the energy cannot be told.
    """
    if machine.energy_label == _COBALT:
        return BeamEnergy(_COBALT_MEV)
    found = _LABEL.match(machine.energy_label)
    if found is None:
        raise PlanError(
            f"Machine {machine.name}: its energy label {machine.energy_label!r} names no energy as DICOM holds it; "
            'write "6 MV", "10 MV FFF" or "Co-60" in the machine file.'
        )
    return BeamEnergy(float(found.group(1)), found.group(2) is not None)


@dataclass(frozen=True)
class MachineChoice:
    """A machine for a beam of an RT Plan; ``note`` says why it is not the one the plan names, empty where it is."""

    name: str
    note: str


def choose_machine(
    treatment_machine: str, energy: BeamEnergy, given: str | Mapping[str, str] | None, where: str
) -> MachineChoice:
    """Choose the machine that a beam is calculated with.

    Parameters
    ----------
    treatment_machine : str
        Treatment Machine Name (300A,00B2).
    energy : BeamEnergy
    given : str or mapping of treatment machine name to str, optional
        The caller's wish: a name or file for all beams, or one a treatment machine. Without one for this beam, the
        machine of that very name is taken where its energy is the beam's, else the generic one of that energy.
    where : str
        File and beam, for messages.

    Raises
    ------
    CaseError
        No machine of that energy.
    MachineError
        A given machine that cannot be loaded.
    """
    called = f"{treatment_machine or 'without a name'}, {energy}"
    wish = given if isinstance(given, str) or given is None else given.get(treatment_machine)
    if wish is not None:
        machine = load_machine(wish)
        if energy_of(machine) == energy or (energy.is_cobalt and energy_of(machine).is_cobalt):
            return MachineChoice(wish, f"Machine {called}: calculated with {machine.name}, as asked.")
        return MachineChoice(
            wish,
            f"Machine {called}: calculated with {machine.name}, as asked, though its energy is {machine.energy_label}.",
        )
    names = available_machines()
    if treatment_machine in names and _serves(treatment_machine, energy):
        return MachineChoice(treatment_machine, "")
    for name in names:
        if name.startswith(_GENERIC) and _serves(name, energy):
            machine = load_machine(name)
            return MachineChoice(
                name,
                f"Machine {called}: calculated with {name} ({machine.title}), chosen by the energy alone. Spectrum, "
                "head scatter, transmission and leaf ends are generic, not that machine's; 1 cGy a MU is taken for "
                f"{machine.describe_calibration().split(' in water at ')[-1]}.",
            )
    known = ", ".join(sorted({load_machine(name).energy_label for name in names if name.startswith(_GENERIC)}))
    raise CaseError(
        f"{where}: Nominal Beam Energy (300A,0114) and fluence mode are {energy}, for which there is no machine (there "
        f"are: {known}). Give one (machine), or commission it: rtplanning commission."
    )


def _serves(name: str, energy: BeamEnergy) -> bool:
    label = energy_of(load_machine(name))
    return label == energy or (label.is_cobalt and energy.is_cobalt)
