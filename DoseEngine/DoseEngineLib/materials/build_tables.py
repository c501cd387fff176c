"""Rebuild the material tables that the package ships from NIST's tables, one .npz file a material.

    python -m DoseEngineLib.materials.build_tables FOLDER_OF_NPZ TARGET_FOLDER

Photon coefficients are those of SRD 126 from 10 keV on; the collision stopping power at 1 MeV is ESTAR's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from DoseEngineLib.errors import SchemaError

SCHEMA_VERSION = 1
MATERIALS = {
    "water": "water",
    "bone_cortical_icrp": "cortical bone (ICRP)",
    "titanium": "titanium",
    "iron": "iron",
}
SOURCE = (
    "Photons: J. H. Hubbell and S. M. Seltzer, NISTIR 5632 (NIST Standard Reference Database 126). Electrons: "
    "NIST ESTAR (Standard Reference Database 124), collision stopping power at 1 MeV. Public domain."
)
_LOWEST_MEV = 0.01


def _rounded(value: float, digits: int = 5) -> float:
    return float(f"{value:.{digits}g}")


def build_table(source: Path, name: str) -> str:
    """Return the JSON text of one material.

    Raises
    ------
    SchemaError
        When the file lacks one of NIST's arrays.
    """
    with np.load(source) as data:
        needed = {"nist_E_MeV", "nist_mu_rho", "nist_muen_rho", "Te_MeV", "S_col", "rho"}
        if needed - set(data.files):
            raise SchemaError(f"{source} lacks {', '.join(sorted(needed - set(data.files)))}.")
        used = data["nist_E_MeV"] >= _LOWEST_MEV
        table = {
            "schema_version": SCHEMA_VERSION,
            "name": name,
            "title": MATERIALS[name],
            "mass_density_g_cm3": _rounded(data["rho"], 4),
            "source": SOURCE,
            "units": {
                "energy": "MeV",
                "mass_attenuation": "cm2/g",
                "mass_energy_absorption": "cm2/g",
                "collision_stopping_1MeV": "MeV cm2/g",
            },
            "energy_MeV": data["nist_E_MeV"][used].tolist(),
            "mass_attenuation": [_rounded(v) for v in data["nist_mu_rho"][used]],
            "mass_energy_absorption": [_rounded(v) for v in data["nist_muen_rho"][used]],
            "collision_stopping_1MeV": _rounded(np.interp(1.0, data["Te_MeV"], data["S_col"])),
        }
    return json.dumps(table, indent=1) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Rebuild the package's material tables.")
    parser.add_argument("source", type=Path, help="folder of NIST tables, one .npz a material")
    parser.add_argument("target", type=Path, help="folder to write the .json files to")
    arguments = parser.parse_args()
    for name in MATERIALS:
        text = build_table(arguments.source / f"{name}.npz", name)
        (arguments.target / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
