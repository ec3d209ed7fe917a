"""Electrodes to the 18 bipolar channels of the longitudinal ("double banana") montage.

The chains are LL (left lateral), LP (left parasagittal), RP, RL and the midline. Left/right pairs are interleaved,
so that a network sees homologous channels side by side and the left/right mirror only swaps neighbours.
"""

from __future__ import annotations

import itertools

import numpy as np

from kernel.constants import EEG_ELECTRODES

CHAINS = {
    "LL": ("Fp1", "F7", "T3", "T5", "O1"),
    "RL": ("Fp2", "F8", "T4", "T6", "O2"),
    "LP": ("Fp1", "F3", "C3", "P3", "O1"),
    "RP": ("Fp2", "F4", "C4", "P4", "O2"),
    "midline": ("Fz", "Cz", "Pz"),
}


def _pairs(chain: str) -> list[tuple[str, str]]:
    return list(itertools.pairwise(CHAINS[chain]))


def _interleave(left: str, right: str) -> list[tuple[str, str]]:
    return [pair for both in zip(_pairs(left), _pairs(right), strict=True) for pair in both]


MONTAGE = (*_interleave("LL", "RL"), *_interleave("LP", "RP"), *_pairs("midline"))
"""The 18 pairs (anode, cathode): Fp1-F7, Fp2-F8, F7-T3, F8-T4, ... P4-O2, Fz-Cz, Cz-Pz."""

CHANNELS = tuple(f"{anode}-{cathode}" for anode, cathode in MONTAGE)
"""The channels' names, in the order in which every array of the project holds them."""

N_PAIRS = 8
"""Left/right pairs of channels, first in the montage; the two midline channels follow."""

MIRROR = np.array([*(i ^ 1 for i in range(2 * N_PAIRS)), 2 * N_PAIRS, 2 * N_PAIRS + 1])
"""The left/right mirror: `channels[MIRROR]` is the recording of the mirrored head."""

_ANODES = np.array([EEG_ELECTRODES.index(anode) for anode, _ in MONTAGE])
_CATHODES = np.array([EEG_ELECTRODES.index(cathode) for _, cathode in MONTAGE])


def build_montage(electrodes: np.ndarray) -> np.ndarray:
    """Subtract cathode from anode for each of the 18 channels.

    What all electrodes share, above all the noise of the reference, cancels here; NaN stays NaN.

    Parameters
    ----------
    electrodes : ndarray, shape (19, n_times) or (20, n_times)
        Potentials in microvolts, rows as in `EEG_ELECTRODES`; a further row (EKG) is not used.

    Returns
    -------
    channels : ndarray, shape (18, n_times), the input's dtype
        Microvolts, rows as in `CHANNELS`.
    """
    if electrodes.ndim != 2 or len(electrodes) < len(EEG_ELECTRODES):
        raise ValueError(f"expected electrodes of shape (19 or 20, n_times), found {electrodes.shape}")
    return electrodes[_ANODES] - electrodes[_CATHODES]
