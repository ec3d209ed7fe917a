"""The head: the closed form against a series, symmetry, fields that fall off as they must."""

import numpy as np
from scipy.special import eval_legendre

from kernel.constants import EEG_ELECTRODES
from simulator.head import build_topography, compute_potential, electrode_positions, place


def test_potential_equals_its_legendre_series():
    electrodes = electrode_positions()
    direction = np.array([0.3, 0.4, 0.866]) / np.linalg.norm([0.3, 0.4, 0.866])
    for eccentricity in (0.3, 0.5, 0.7):
        got = compute_potential((direction * eccentricity)[None], direction[None], electrodes)[:, 0]
        n = np.arange(1, 200)[:, None]
        series = ((2 * n + 1) * eccentricity ** (n - 1.0) * eval_legendre(n, electrodes @ direction)).sum(axis=0)
        np.testing.assert_allclose(got, series, atol=1e-9)


def test_electrodes_lie_on_the_unit_sphere_and_mirror():
    positions = dict(zip(EEG_ELECTRODES, electrode_positions(), strict=True))
    np.testing.assert_allclose([np.linalg.norm(p) for p in positions.values()], 1)
    for left, right in (("Fp1", "Fp2"), ("T3", "T4"), ("O1", "O2"), ("C3", "C4")):
        np.testing.assert_allclose(positions[left] * [-1, 1, 1], positions[right], atol=1e-12)


def test_a_wider_patch_reaches_further():
    field = {s: build_topography(place(-0.6, 0.5), s) for s in (0.2, 0.6)}
    f3, c4 = EEG_ELECTRODES.index("F3"), EEG_ELECTRODES.index("Fz")
    assert field[0.2].argmax() == f3
    assert field[0.6][c4] > field[0.2][c4]
