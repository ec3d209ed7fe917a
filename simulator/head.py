"""The head: 19 electrodes on a sphere, cortical sources, how they spread over the scalp, and where a pattern lies.

Topographies are columns of microvolts per unit of a source at the 19 electrodes. The conductor is one homogeneous
sphere; the blur of the skull is had by moving sources inward (Ary et al., IEEE Trans Biomed Eng 1981;28:447: a dipole
in three shells looks like one at 0.6 of its eccentricity in a single one).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from kernel.constants import EEG_ELECTRODES
from kernel.montage import MONTAGE, build_montage

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


LEFT, RIGHT = ([k for k, (anode, _) in enumerate(MONTAGE) if find_side(anode) == side] for side in (-1, 1))
"""Which of the 18 channels are on the left and on the right."""


def compute_laterality(channels: np.ndarray) -> float:
    """Return (E - e) / (E + e) of the energy of `channels` (18, ...) over the hemispheres; signed, right positive."""
    energy = (np.asarray(channels, dtype=np.float64) ** 2).reshape(18, -1).sum(axis=1)
    right, left = energy[RIGHT].sum(), energy[LEFT].sum()
    return float((right - left) / max(right + left, 1e-12))


def draw_fields(
    rng: np.random.Generator, laterality: float, side: int, rhythmic: float, weights: np.ndarray, recruits: bool
) -> np.ndarray:
    """Return fields (n_components, 19) whose weighted energy has about the `laterality`, larger on `side`.

    A pattern is a pair of homologous patches, the second weaker; a generalised one may add a midline patch. Rhythmic
    delta is mostly frontal (ACNS 2021, modifier "frontally predominant") and falls off backwards without a reversal of
    its phase; discharges are anywhere. What `recruits`, as seizures do, has patches wide apart.
    """
    wide = laterality < 0.35
    frontal = rng.normal(0.65, 0.3) if rng.random() < 0.4 + 0.25 * rhythmic else rng.uniform(-0.85, 0.9)
    polar = rng.random() < 0.15 + (0.6 if wide else 0.3) * rhythmic
    if polar:  # largest at Fp1 and Fp2, falling off backwards in all chains
        frontal = rng.uniform(0.85, 1.0)
    lateral = rng.uniform(0.2, 0.9)
    spread = rng.uniform(0.3, 1.1) if wide else rng.uniform(0.12, 0.55)
    if polar or recruits:
        spread = max(spread, rng.uniform(0.2, 0.7) if recruits or not wide else rng.uniform(0.3, 1.0))
    wander = 0.7 if wide and (recruits or rng.random() < 0.5) else 0.1 if polar else 0.3
    stray = 0.5 if wander > 0.5 else 0.2
    most_folding = 0.9 if recruits else 0.9 - 0.6 * rhythmic
    gains = np.linspace(0.0, 1.0, 11)
    for _ in range(5):
        places = [(lateral, frontal)]
        places += [(lateral + rng.normal(0, stray), frontal + rng.normal(0, wander)) for _ in weights[1:]]
        pairs = [
            _draw_patches(rng, np.clip(x, 0.08, 0.95), np.clip(y, -0.98, 1.0), side, spread, most_folding, wide)
            for x, y in places
        ]
        near, far = (np.stack(fields) for fields in zip(*pairs, strict=True))
        # falls from about 1 towards 0
        found = [side * compute_laterality(build_montage(((near + g * far) * weights[:, None]).T)) for g in gains]
        misses = np.abs(np.array(found) - laterality)
        best = int(np.argmin(misses))
        if misses[best] < 0.1:
            break
        if found[best] < laterality:  # reaches too far for a pattern so much of one side
            spread, lateral = spread * 0.7, min(0.9, lateral + 0.15)
    return near + gains[best] * far


def _draw_patches(
    rng: np.random.Generator, x: float, y: float, side: int, spread: float, most_folding: float, midline: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the field (19,) of a patch at the lateral `x` and frontal `y` on `side`, and of the homologous one."""
    spread *= rng.uniform(0.8, 1.5)
    folding = rng.uniform(0, most_folding)
    near = build_topography(place(side * x, y), spread, rng, folding)
    # the homologous patch folds its own way
    far = build_topography(place(-side * x, y), spread * rng.uniform(0.85, 1.2), rng, folding)
    if midline and rng.random() < 0.5:
        middle = build_topography(place(0, y), spread, rng, folding * 0.5) * rng.uniform(0.3, 2)
        near, far = near + middle / 2, far + middle / 2
    return near, far
