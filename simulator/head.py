"""The head: 19 electrodes on a sphere, cortical sources, and how a source spreads over the scalp.

Topographies are columns of microvolts per unit of a source at the 19 electrodes. The conductor is one homogeneous
sphere; the blur of the skull is had by moving sources inward (Ary et al., IEEE Trans Biomed Eng 1981;28:447: a dipole
in three shells looks like one at 0.6 of its eccentricity in a single one).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from kernel.constants import EEG_ELECTRODES

_ANGLES = {
    "Fz": (45, 0), "Cz": (0, 0), "Pz": (45, 180),
    "Fp1": (92, -18), "F7": (92, -54), "T3": (92, -90), "T5": (92, -126), "O1": (92, -162),
    "F3": (59, -40), "C3": (46, -90), "P3": (59, -140),
}  # fmt: skip
_MIRROR = {"Fp1": "Fp2", "F7": "F8", "T3": "T4", "T5": "T6", "O1": "O2", "F3": "F4", "C3": "C4", "P3": "P4"}
SKULL_SHRINK = 0.6
N_SOURCES = 240


def find_side(electrode: str) -> int:
    """Return -1 for an electrode of the left side (odd numbers), 1 for the right one, 0 for the middle (z)."""
    return 0 if electrode[-1] == "z" else -1 if int(electrode[-1]) % 2 else 1


@cache
def electrode_positions() -> np.ndarray:
    """Return unit vectors (19, 3) in the order of EEG_ELECTRODES: x to the right ear, y to the nose, z up."""
    angles = _ANGLES | {right: (_ANGLES[left][0], -_ANGLES[left][1]) for left, right in _MIRROR.items()}
    polar, azimuth = np.deg2rad([angles[name] for name in EEG_ELECTRODES]).T
    return np.stack([np.sin(polar) * np.sin(azimuth), np.sin(polar) * np.cos(azimuth), np.cos(polar)], axis=1)


def compute_potential(position: np.ndarray, moment: np.ndarray, electrodes: np.ndarray) -> np.ndarray:
    """Return the potential of current dipoles in a homogeneous conducting unit sphere, at its surface.

    Parameters
    ----------
    position, moment : ndarray, shape (n, 3)
        Places inside the sphere, not at its centre, and moments.
    electrodes : ndarray, shape (m, 3)
        Unit vectors.

    Returns
    -------
    ndarray, shape (m, n)
        In units of moment / (4 pi conductivity radius^2). Source: Mosher, Leahy, Lewis, IEEE Trans Biomed Eng
        1999;46:245, eq. 17 to 19 (closed form of Brody et al. 1973).
    """
    a = electrodes[:, None, :] - position[None]
    d = np.linalg.norm(a, axis=2)
    along = electrodes @ position.T
    q2 = (position**2).sum(axis=1)
    f = d * (d + 1 - along)
    c1 = (2 * (a * position).sum(axis=2) / d**3 + 1 / d - 1) / q2
    c2 = (2 / d**3 + (d + 1) / f) / q2
    return (c1 - c2 * along) * (position * moment).sum(axis=1) + c2 * q2 * (electrodes @ moment.T)


@cache
def cortex() -> tuple[np.ndarray, np.ndarray]:
    """Return directions (240, 3) of cortical patches, those of the base too, and fields (19, 240) of radial ones."""
    i = np.arange(N_SOURCES) + 0.5
    z = 1 - i / N_SOURCES * 1.5
    turn = np.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - z**2)
    directions = np.stack([r * np.sin(turn), r * np.cos(turn), z], axis=1)
    fields = compute_potential(directions * 0.87 * SKULL_SHRINK, directions, electrode_positions())
    return directions, fields - fields.mean(axis=0)


def place(lateral: float, frontal: float) -> np.ndarray:
    """Return the direction (3,) of a place on the map of the 10-20 system: Cz (0, 0), T3 (-1, 0), C3 (-0.5, 0).

    The arc from the vertex grows with the distance on the map; beyond 1 it is below the electrodes.
    """
    distance = np.hypot(lateral, frontal)
    arc = min(distance, 1.25) * np.deg2rad(92)
    x, y = np.array([lateral, frontal]) / max(distance, 1e-9) * np.sin(arc)
    return np.array([x, y, np.cos(arc)])


def build_topography(
    centre: np.ndarray, spread: float, rng: np.random.Generator | None = None, folding: float = 0.0
) -> np.ndarray:
    """Return the field (19,) of a cortical patch, largest value 1.

    Parameters
    ----------
    centre : ndarray, shape (3,)
        Unit vector to the middle of the patch.
    spread : float
        Standard deviation of the patch in radians: 0.2 is a gyrus, 0.6 a lobe, 1.2 a hemisphere and more.
    rng, folding
        With `folding` above 0, a dipole tilted to the scalp is mixed in, as of a patch in the wall of a sulcus.
    """
    directions, fields = cortex()
    angle = np.arccos(np.clip(directions @ centre, -1, 1))
    weight = np.exp(-0.5 * (angle / spread) ** 2)
    topography = fields @ (weight / weight.sum())
    topography = topography / np.abs(topography).max()
    if rng is not None and folding > 0:
        tilt = np.cross(centre, rng.standard_normal(3))
        eccentricity = rng.uniform(0.5, 0.9) * SKULL_SHRINK
        lying = compute_potential(centre[None] * eccentricity, tilt[None], electrode_positions())[:, 0]
        lying -= lying.mean()
        topography = topography + folding * lying / np.abs(lying).max()
    return topography / np.abs(topography).max()
