"""Names of structures: what they stand for, and what they do not."""

from __future__ import annotations

import copy
import json
from importlib import resources

import pytest

from DoseEngineLib.errors import SchemaError
from RTPlanningLib.structure_names import is_same_name, load_organs, match_name, parse_organs


@pytest.fixture
def raw() -> dict:
    return json.loads(resources.files("RTPlanningLib").joinpath("structure_names.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("structure", "organ", "side", "by"),
    [
        ("Parotids", "parotids", "", "TG-263 name"),
        ("Parotid_L", "parotid", "L", "TG-263 name"),
        ("Right parotid", "parotid", "R", "TG-263 name"),
        ("Lt Lung", "lung", "L", "TG-263 name"),
        ("chest wall", "chest_wall", "", "TG-263 name"),
        ("Chestwall_R", "chest_wall", "R", "TG-263 name"),
        ("Zwölffingerdarm", "duodenum", "", "name in use"),
        ("BODY", "body", "", "TG-263 name"),
        ("Femurs", "femoral_heads", "", "name in use"),
    ],
)
def test_a_name_says_organ_and_side(structure, organ, side, by):
    match = match_name(structure)
    assert match.organ is not None
    assert (match.organ.id, match.side, match.by) == (organ, side, by)


@pytest.mark.parametrize("structure", ["SpinalCord_PRV05", "Lungs-Heart", "PTV", "zRing", "L", "Parotid_L+R"])
def test_a_part_of_a_name_is_no_match(structure):
    assert match_name(structure).organs == ()


def test_a_name_in_use_for_several_organs_gives_all():
    match = match_name("Bowel")
    assert {organ.id for organ in match.organs} == {"colon", "small_bowel"}
    assert match.organ is None


def test_only_the_organs_given_come_into_question():
    organs = load_organs()
    assert match_name("Duodenum", [organs["heart"]]).organs == ()
    # an eye is an eye; where eyes are not known, the name is that of what lies in it
    assert match_name("Eye_L").organ is organs["eye"]
    inside = match_name("Eye_L", [organs["lens"], organs["retina"]])
    assert {organ.id for organ in inside.organs} == {"lens", "retina"}


def test_no_own_name_stands_for_two_organs():
    for organ in load_organs().values():
        for name in (*organ.tg263, *organ.aliases):
            match = match_name(name)
            assert match.organ is organ, name


def test_same_names_differ_in_case_and_separators_only():
    assert is_same_name("PTV_Central", "ptv central")
    assert is_same_name("PTV 70", "PTV70")
    assert not is_same_name("PTV_70", "PTV_7")
    assert not is_same_name("Lungs", "Lungs-GTV")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda raw: raw.update(schema_version=2), "schema version 2"),
        (lambda raw: raw["organs"][0].pop("aliases"), "lacks 'aliases'"),
        (lambda raw: raw["organs"].append(raw["organs"][0]), "twice"),
        (lambda raw: raw["organs"][0].update(pair_of="heart"), "no organ with sides"),
    ],
)
def test_a_table_with_gaps_is_refused(raw, change, text):
    parse_organs(copy.deepcopy(raw))
    change(raw)
    with pytest.raises(SchemaError, match=text):
        parse_organs(raw)
