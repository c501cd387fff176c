"""Names of structures and what TG-263 would call them."""

from __future__ import annotations

import pytest

from RTPlanningLib.contouring.name_check import LONGEST_NAME, check_name
from RTPlanningLib.structure_names import load_organs


@pytest.mark.parametrize(
    "name",
    [
        "PTV",
        "PTV1",
        "CTV_High",
        "PTV_7000",
        "GTVp",
        "GTVn1",
        "PTV!",
        "SpinalCord",
        "Lung_L",
        "External",
        "zRing",
        "_opt",
    ],
)
def test_standard_names_are_left_alone(name):
    check = check_name(name)
    assert check.is_standard
    assert check.proposal == ""


@pytest.mark.parametrize(
    ("name", "proposal"),
    [
        ("cord", "SpinalCord"),
        ("Rückenmark", "SpinalCord"),
        ("left lung", "Lung_L"),
        ("LUNG_R", "Lung_R"),
        ("spinal cord PRV 5mm", "SpinalCord_PRV05"),
        ("ptv 70", "PTV_7000"),
        ("CTV 50.4", "CTV_5040"),
        ("ctv", "CTV"),
        ("PTV_Central", "PTV^Central"),
        ("Couch Surface", "CouchSurface"),
    ],
)
def test_other_names_get_a_proposal(name, proposal):
    check = check_name(name)
    assert not check.is_standard
    assert check.proposal == proposal
    assert proposal in check.text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Lung", "say which side, Lung_L or _R"),
        ("ear", "several organs"),
        ("Blubb", "Not in the table"),
        ("", "needs a name"),
        ("BrachialPlex_L_PRV05", "Longer than 16"),
        ("Blubb_PRV05", "planning risk volume"),
    ],
)
def test_what_cannot_be_proposed_is_explained(name, text):
    check = check_name(name)
    assert not check.is_standard
    assert check.proposal == ""
    assert text in check.text


def test_a_name_that_is_taken_is_not_proposed():
    assert check_name("cord", ["cord", "SpinalCord"]).proposal == ""
    assert check_name("spinalcord", ["spinalcord"]).proposal == "SpinalCord"


def test_every_proposal_of_the_table_is_itself_standard():
    for organ in load_organs().values():
        for name in (*organ.tg263, *organ.aliases):
            for written in [f"{name}_L", f"{name} right"] if organ.sided else [name]:
                check = check_name(written)
                if check.proposal:
                    assert check_name(check.proposal).is_standard, (written, check.proposal)
                    assert len(check.proposal) <= LONGEST_NAME
