"""The kernels and tables in the package are what their build scripts make of their sources, and all of them load."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest

from DoseEngineLib.errors import SchemaError
from DoseEngineLib.materials.build_tables import MATERIALS, build_table
from DoseEngineLib.photon.build_point_kernels import build_point_kernels
from DoseEngineLib.photon.point_kernels import load_point_kernels

pytestmark = pytest.mark.reference
PACKAGE = resources.files("DoseEngineLib")


def test_point_kernels_are_rebuilt_to_the_last_bit(shared_data, tmp_path):
    target = tmp_path / "point_kernels_water.npz"
    build_point_kernels(shared_data / "kernels" / "edk_water_egsnrc.npz", target)
    with np.load(target) as rebuilt, np.load(str(PACKAGE / "photon" / "point_kernels_water.npz")) as shipped:
        assert set(rebuilt.files) == set(shipped.files)
        for name in shipped.files:
            assert np.array_equal(rebuilt[name], shipped[name]), name
    assert load_point_kernels().fraction.shape == (20, 48, 24, 5)


@pytest.mark.parametrize("name", MATERIALS)
def test_material_tables_are_rebuilt_to_the_last_digit(shared_data, name):
    shipped = (PACKAGE / "materials" / f"{name}.json").read_text(encoding="utf-8")
    assert build_table(shared_data / "xs" / f"{name}.npz", name) == shipped


def test_sources_that_are_something_else_are_refused(tmp_path):
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, a=np.zeros(2))
    with pytest.raises(SchemaError, match="lacks"):
        build_point_kernels(wrong, tmp_path / "out.npz")
    with pytest.raises(SchemaError, match="lacks"):
        build_table(wrong, "water")


def test_every_json_table_has_schema_version_and_source():
    for folder in ("materials", "machines"):
        for entry in (PACKAGE / folder).iterdir():
            if entry.name.endswith(".json") and not entry.name.endswith(".schema.json"):
                table = json.loads(entry.read_text(encoding="utf-8"))
                assert table["schema_version"] == 1, entry.name
                assert table.get("source") or table.get("provenance"), entry.name
