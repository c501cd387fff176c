"""The table of known leaves: complete, sourced, and found by the widths of a plan's leaves."""

from __future__ import annotations

import numpy as np
import pytest

from DoseEngineLib.leaves.published_leaves import all_published_leaves, published_leaves
from DoseEngineLib.machine import load_machine


@pytest.mark.parametrize("leaves", all_published_leaves(), ids=lambda one: one.name)
def test_every_entry_is_sound_and_sourced(leaves):
    assert (np.diff(leaves.boundaries_mm) > 0).all()
    np.testing.assert_allclose(leaves.boundaries_mm, [-side for side in leaves.boundaries_mm[::-1]])
    assert "20" in leaves.source
    assert leaves.short_source
    for energy in leaves.energies:
        name = {"6 MV": "generic_6mv", "10 MV": "generic_10mv", "15 MV": "generic_15mv"}.get(
            energy.removesuffix(" FFF"), ""
        )
        machine = load_machine(name + ("_fff" if energy.endswith("FFF") else ""))
        model = leaves.model_for(machine)
        assert 0.002 < model.transmission < 0.02
        assert 0.0 <= model.leaf_end_offset_mm < 1.0
        assert leaves.short_source in leaves.describe(machine)


def test_leaves_are_found_by_their_widths():
    machine = load_machine("generic_6mv")
    hd = next(one for one in all_published_leaves() if one.name == "hd120")
    assert len(hd.boundaries_mm) == 61
    assert published_leaves([side + 1e-5 for side in hd.boundaries_mm], machine) is hd
    assert published_leaves(machine.mlc.boundaries_mm, machine) is None
    assert published_leaves(hd.boundaries_mm, load_machine("ideal_6mv")) is None
    # what is not published is the machine's
    assert hd.model_for(machine).tongue_and_groove_mm == machine.mlc.tongue_and_groove_mm
    ten = load_machine("generic_10mv")
    assert hd.model_for(ten).transmission == ten.mlc.transmission
    assert "transmission, tongue and groove as generic_10mv has it" in hd.describe(ten)
