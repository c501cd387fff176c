"""Rebuild the point kernels that the package ships from the Monte Carlo output they were tallied to.

    python -m DoseEngineLib.photon.build_point_kernels edk_water_egsnrc.npz point_kernels_water.npz

The source is an EGSnrc EDKnrc run: photons of each energy forced to interact at the centre of a water sphere of 60 cm
radius; fraction of the photon's energy deposited in 48 cones by 24 shells, by component. The output leaves out the
uncertainties (below 1 % where it matters) and carries schema version and provenance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from DoseEngineLib.errors import SchemaError

SCHEMA_VERSION = 1
SOURCE = (
    "EGSnrc EDKnrc (git 9edee3e), point photon interactions forced at the centre of a water sphere, computed for this "
    "project; fraction of the interacting photon's energy deposited in each cone and shell; relative statistical "
    "uncertainty below 1 % where it matters; licence: same as the package"
)


def build_point_kernels(tallied: Path, target: Path) -> None:
    """Write the package's kernel file from a tally file.

    Raises
    ------
    SchemaError
        When the tally file lacks an array or its shapes do not fit each other.
    """
    with np.load(tallied) as data:
        missing = {"E_MeV", "cone_upper_deg", "radius_upper_cm", "fraction", "components"} - set(data.files)
        if missing:
            raise SchemaError(f"{tallied} lacks {', '.join(sorted(missing))}; is it the EDKnrc tally file?")
        shape = tuple(data[name].size for name in ("E_MeV", "cone_upper_deg", "radius_upper_cm", "components"))
        if data["fraction"].shape != shape:
            raise SchemaError(f"{tallied}: fraction has shape {data['fraction'].shape}, its axes say {shape}.")
        np.savez_compressed(
            target,
            schema_version=np.int64(SCHEMA_VERSION),
            energy_MeV=data["E_MeV"],
            cone_upper_deg=data["cone_upper_deg"],
            radius_upper_cm=data["radius_upper_cm"],
            fraction=data["fraction"].astype(np.float32),
            components=data["components"],
            source=np.array(SOURCE),
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Rebuild the package's point kernels.")
    parser.add_argument("tallied", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    build_point_kernels(arguments.tallied, arguments.target)


if __name__ == "__main__":
    main()
