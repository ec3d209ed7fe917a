"""What a network reads: one array per configured input, built from the 18 channels of one window.

There are two kinds: a scalogram (`ScalogramConfig`) and the raw signal (`RawConfig`). Networks with the same
configuration share the array.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft

from kernel.constants import SFREQ
from kernel.scalogram import ScalogramConfig, build_scalogram


@dataclass(frozen=True)
class RawConfig:
    """Everything that decides the numbers of a raw-signal input."""

    f_min: float = 0.5  # high-pass corner, hertz (half amplitude)
    f_max: float = 40.0  # low-pass corner, hertz (half amplitude)
    stride: int = 2  # one sample kept out of `stride`: 100 Hz by default
    notch: tuple[float, ...] = (50.0, 60.0)
    """Mains frequencies, removed together with about 2 Hz on both sides: they can be a thousand times the EEG."""
    clip: float = 8192.0
    """Channels are clipped to +-clip microvolts before filtering: far above any EEG, because clipped mains have
    overtones that fold into the EEG's band."""
    compression: str = "asinh"
    """`asinh`: arsinh(x / unit), linear for small and logarithmic for large values; `none`: x / unit."""
    unit: float = 20.0  # microvolts that the compression counts as one

    def __post_init__(self) -> None:
        nyquist = SFREQ / self.stride / 2
        if not 0 < self.f_min < self.f_max < nyquist:
            raise ValueError(f"RawConfig: need 0 < f_min < f_max < {nyquist:g} Hz, found {self.f_min}, {self.f_max}")
        if self.compression not in ("asinh", "none"):
            raise ValueError(f"RawConfig: compression must be 'asinh' or 'none', found {self.compression!r}")
        if min(self.clip, self.unit) <= 0:
            raise ValueError("RawConfig: clip and unit must be positive")

    def shape(self, n_channels: int, n_times: int) -> tuple[int, int]:
        """Return (n_channels, n_samples) for an input of `n_times` samples."""
        return n_channels, n_times // self.stride


InputConfig = ScalogramConfig | RawConfig
KINDS: dict[str, type[InputConfig]] = {"scalogram": ScalogramConfig, "raw": RawConfig}


def build_raw(channels: np.ndarray, config: RawConfig) -> np.ndarray:
    """Band-pass, decimate and scale the raw signal, without phase shift, by one FFT there and a shorter one back.

    Parameters
    ----------
    channels : ndarray, shape (n_channels, n_times)
        Finite microvolts at 200 Hz.

    Returns
    -------
    raw : ndarray, shape (n_channels, n_times // stride), float32
        Scaled by the configuration's constants; the samples are those at every `stride`-th time.
    """
    n_samples = config.shape(*channels.shape)[1]
    kept = n_samples * config.stride
    clipped = np.clip(channels[:, :kept], -config.clip, config.clip).astype(np.float32, copy=False)
    # As much padding as signal: what the filter spreads beyond the ends lies in the padding and is cut off.
    spectrum = scipy.fft.rfft(clipped, 2 * kept)[:, : n_samples + 1]
    bins = np.arange(n_samples + 1) * (SFREQ / (2 * kept))
    # Fourth-order Butterworth magnitudes: steep, and without the ringing of a sharp edge.
    with np.errstate(divide="ignore"):
        gain = 1 / np.sqrt((1 + (config.f_min / bins) ** 8) * (1 + (bins / config.f_max) ** 8) * config.stride**2)
    for mains in config.notch:
        gain *= 1 - np.exp(-0.5 * (bins - mains) ** 2)
    raw = scipy.fft.irfft(spectrum * gain.astype(np.float32), 2 * n_samples)[:, :n_samples]
    raw *= np.float32(1 / config.unit)
    return np.arcsinh(raw) if config.compression == "asinh" else raw


BUILD: dict[type, Callable[[np.ndarray, Any], np.ndarray]] = {ScalogramConfig: build_scalogram, RawConfig: build_raw}
"""(channels, configuration) -> array, by the configuration's type."""


def build_input(channels: np.ndarray, config: InputConfig) -> np.ndarray:
    """Build the array that a configuration describes from the channels of one window, (18, n_times), microvolts."""
    return BUILD[type(config)](channels, config)


def to_json(config: InputConfig) -> dict[str, Any]:
    """Return a configuration as JSON writes it, its kind first."""
    kind = next(name for name, type_ in KINDS.items() if isinstance(config, type_))
    return {"kind": kind, **dataclasses.asdict(config)}


def from_json(fields: dict[str, Any], source: str) -> InputConfig:
    """Return the configuration that `to_json` wrote; `source` names the file in errors."""
    kind = fields.get("kind")
    if kind not in KINDS:
        raise ValueError(f"{source}: unknown kind of input {kind!r}; this code knows {', '.join(KINDS)}")
    values = {name: value for name, value in fields.items() if name != "kind"}
    check_fields(values, KINDS[kind], source)
    build: Callable[..., InputConfig] = KINDS[kind]
    return build(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def check_fields(values: dict[str, Any], type_: type, source: str) -> None:
    """Raise a ValueError that names each field that only a JSON object has, or only the dataclass.

    A file with other fields was written by code that computes something else.
    """
    known = {field.name for field in dataclasses.fields(type_)}
    missing, unknown = sorted(known - values.keys()), sorted(values.keys() - known)
    if missing or unknown:
        differences = [f"lacks {name}" for name in missing] + [f"has unknown {name}" for name in unknown]
        raise ValueError(f"{source}: {type_.__name__} {', '.join(differences)}; written by another version of the code")
