"""Where a pattern lies: topographies of its components, balanced to a laterality."""

from __future__ import annotations

import numpy as np

from kernel.montage import MONTAGE, build_montage
from simulator.head import build_topography, find_side, place

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
