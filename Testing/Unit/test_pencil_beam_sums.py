"""The pencil beam's voxel loop against its formulas written plainly: every pixel summed, every level read, no shortcut.

The cases are random in everything: fluence, pixels, kernels, their table, rays' depths, off-axis softening, grid.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BarycentricInterpolator
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation
from scipy.special import ndtr

from DoseEngineLib.photon import pencil_beam
from DoseEngineLib.photon.fluence import FluenceMap
from DoseEngineLib.photon.pencil_terms import upstream_reach_mm
from DoseEngineLib.photon.scale_space import LEVELS_PER_OCTAVE, make_scale_space

SAD, COLLIMATION, PHOTONS = 1000.0, 500.0, 3.7
SHAPE = (4, 5, 6)


class RandomCase:
    """A small beam; widths of the kernel in pixels, fluence from ``base`` to ``base + contrast``."""

    def __init__(self, seed, widths, contrast=1.0, base=0.0, sharp=True, source_distance=0.0):
        rng = np.random.default_rng(seed)
        self.sharp, self.source_distance = sharp, source_distance
        self.pixel = rng.uniform(1.2, 2.5)
        self.half = int(rng.integers(8, 17))
        self.raster = (base + contrast * rng.random((2 * self.half,) * 2)).astype(np.float32)
        self.space = make_scale_space(FluenceMap(self.raster, self.pixel), 500.0)
        self.to_beam = np.eye(4)
        self.to_beam[:3, :3] = Rotation.random(random_state=seed).as_matrix() * rng.uniform(2.0, 4.0, 3)
        self.to_beam[:3, 3] = rng.uniform(-8.0, 8.0, 3) - self.to_beam[:3, :3] @ ((np.array(SHAPE[::-1]) - 1) / 2)
        self.sigma = rng.uniform(*widths, 4) * self.pixel
        self.table = rng.uniform(0.5, 1.5, (501, 4))
        self.source_sigma = rng.uniform(0.1, 0.5)
        self.softening = rng.uniform(-0.01, 0.02, 2)
        # depth rises evenly in u and v, and from plane to plane of the fan: what is read between them is exact
        self.first, self.step = np.array([-60.0, -60.0, 840.0]), np.array([15.0, 13.0, 10.0])
        self.planes = self.first[2] + self.step[2] * np.arange(25)
        self.slope = rng.uniform(-0.1, 0.1, 2)
        self.depth_on_axis = 30.0 + np.cumsum(rng.uniform(0.1, 1.4, 25)) * self.step[2]

    def depth(self, u, v, distance):
        return self.slope[0] * u + self.slope[1] * v + np.interp(distance, self.planes, self.depth_on_axis)

    def by_the_engine(self):
        u, v = (self.first[n] + self.step[n] * np.arange(10) for n in range(2))
        depth = self.depth(u[None, :, None], v[:, None, None], self.planes).astype(np.float32)
        dose, space = np.zeros(SHAPE, np.float32), self.space
        pencil_beam._accumulate(
            dose, np.ones(SHAPE, bool), self.to_beam, depth, self.first, self.step, self.table, np.ones(501, bool),
            self.sigma, upstream_reach_mm(self.sigma), space.values, space.offset, space.half_count, space.pixel_mm,
            space.sigma_mm, self.sharp, SAD, self.source_sigma, COLLIMATION, self.source_distance, self.softening,
            PHOTONS,
        )  # fmt: skip
        return dose

    def plainly(self):
        """The same dose, and what it would be were the fluence everywhere as great as its greatest."""
        dose, greatest = np.zeros(SHAPE), np.zeros(SHAPE)
        for index in np.ndindex(SHAPE):
            x, y, z = (self.to_beam @ (*index[::-1], 1))[:3]
            distance = SAD - z
            u, v = x * SAD / distance, y * SAD / distance
            angle = np.degrees(np.arctan(np.hypot(u, v) / SAD))
            depth = self.depth(u, v, distance)
            row = depth * (1.0 + self.softening @ (angle, angle**2)) / 0.5
            weights = [np.interp(row, np.arange(501), column) for column in self.table.T]
            reach = np.minimum(upstream_reach_mm(self.sigma), depth)
            density = np.clip((depth - self.depth(u, v, distance - reach)) / reach, 0.15, 1.0)
            focus = self.source_sigma * (distance / COLLIMATION - 1.0) * SAD / distance
            widths = np.hypot(self.sigma * SAD / distance / density, focus)
            factor = PHOTONS * ((SAD - self.source_distance) / (distance - self.source_distance)) ** 2
            dose[index] = factor * sum(w * self.blurred(u, v, s) for w, s in zip(weights, widths, strict=True))
            greatest[index] = factor * sum(weights) * self.raster.max()
        return dose, greatest

    def blurred(self, u, v, sigma):
        narrow, wide = self.read(0, u, v), self.read(10, u, v)
        if self.sharp and abs(narrow - wide) > 1e-3 * max(narrow, wide) and sigma < 3.0 * self.pixel:
            return self.convolved(u, v, sigma)
        levels = self.space.sigma_mm
        nearest = np.rint(LEVELS_PER_OCTAVE * np.log2(sigma / levels[0]))
        middle = int(np.clip(nearest, 1, levels.size - 2))
        three = range(middle - 1, middle + 2)
        variances = levels[list(three)] ** 2
        parabola = BarycentricInterpolator(variances, [self.read(m, u, v) for m in three])
        return float(parabola(np.clip(sigma**2, variances[0], variances[2])))

    def convolved(self, u, v, sigma):
        """The Gaussian's share in every pixel times its fluence."""
        edges = np.arange(-self.half, self.half + 1) * self.pixel
        in_u, in_v = (np.diff(ndtr((edges - at) / sigma)) for at in (u, v))
        return in_v @ self.raster.astype(float) @ in_u

    def read(self, level, u, v):
        half, pixel = self.space.half_count[level], self.space.pixel_mm[level]
        image = self.space.values[self.space.offset[level] :][: 4 * half * half].reshape(2 * half, 2 * half)
        at = [[v / pixel + half - 0.5], [u / pixel + half - 0.5]]
        return map_coordinates(image.astype(float), at, order=1, mode="constant")[0]


# Of the dose: depths of 150 mm are float32 to 1e-5 mm, and the table's weights differ by up to a whole from half a
# millimetre to the next. Of the greatest dose: a Gaussian ends at 4.5 sigma, without 1.4e-5 of itself; and on an even
# map blurs are linear in the variance where they differ by less than 1e-4.
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("case", "of_greatest"),
    [
        ({"widths": (0.1, 0.6)}, 2e-5),
        ({"widths": (0.3, 30.0)}, 2e-5),
        ({"widths": (20.0, 200.0)}, 0.0),
        ({"widths": (1.0, 30.0), "sharp": False, "source_distance": 150.0}, 0.0),
        ({"widths": (0.02, 1.0), "sharp": False, "source_distance": 150.0}, 0.0),
        ({"widths": (0.3, 4.0), "base": 1.0, "contrast": 1e-4}, 1e-4),
        ({"widths": (0.3, 3.0), "base": 1.0, "contrast": 1e-4, "sharp": False, "source_distance": 150.0}, 1e-4),
        ({"widths": (0.3, 3.0), "base": 1.0, "contrast": 1e-2, "sharp": False, "source_distance": 150.0}, 1e-4),
    ],
    ids=["narrow", "all widths", "wide", "no edges", "narrow, no edges", "even", "even, no edges", "nearly even"],
)
def test_the_sum_of_random_kernels_is_what_its_formulas_say(seed, case, of_greatest):
    random = RandomCase(seed, **case)
    expected, greatest = random.plainly()
    assert expected.max() > 0.0
    assert np.all(np.abs(random.by_the_engine() - expected) <= 5e-5 * expected + of_greatest * greatest)
