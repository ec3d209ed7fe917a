"""The one definition of EEG -> scalogram: analytic complex Morlet wavelets on log-spaced frequencies, in microvolts.

Needs numpy and scipy only.

The wavelet of centre frequency f is, in the frequency domain, the Gaussian H(k) = 2 exp(-((k - f) w0 / f)^2 / 2) on
k > 0 (Torrence & Compo 1998, table 1, with the factor 2 of an analytic signal in place of their energy normalisation),
so a cosine of A microvolts at f has the magnitude A in its row, whatever f. In PyWavelets' words it is `cmorB-1` with
B = 2 (w0 / 2 pi)^2. Its standard deviation in time is w0 / (2 pi f) seconds.

How it is computed, fast, and exact to the rounding of float32:

1. One real FFT of all channels, zero-padded so far that five standard deviations of the slowest wavelet fit: linear
   convolution, not circular.
2. For each frequency only the bins within 5.2 standard deviations of the Gaussian are touched (beyond: below 1.4e-6).
3. Only every `stride`-th sample of the result is needed, and moving a band in frequency does not change the
   magnitude. So the band is moved to zero and transformed back by a short FFT; where the band is wider than that FFT,
   its ends are added onto it (aliasing), which is exactly what taking every `stride`-th sample does.

The scaling is fixed by the configuration: it does not depend on the recording, or on others in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft

from kernel.constants import SFREQ

BAND_DEVIATIONS = 5.2
"""Half-width of a filter in standard deviations of its Gaussian: exp(-5.2^2 / 2) = 1.3e-6."""

TIME_DEVIATIONS = 5.0
"""Zero padding in standard deviations of the slowest wavelet."""

ROWS_AT_ONCE = 4
"""Frequencies per inverse FFT: few enough that the work stays in the processor's cache, enough to hide the calls."""


@dataclass(frozen=True)
class ScalogramConfig:
    """Everything that decides a scalogram's numbers; travels as JSON beside weights and caches."""

    w0: float = 7.0  # angular frequency of the wavelet: w0 / (2 pi) is its standard deviation in cycles
    f_min: float = 0.5  # lowest centre frequency, hertz
    f_max: float = 40.0  # highest centre frequency, hertz
    n_freqs: int = 40  # number of rows
    spacing: str = "log"  # `log` (equal ratios) or `linear` (equal differences) between the rows
    stride: int = 16  # one frame every `stride` samples: 12.5 frames per second at 200 Hz
    seconds: tuple[float, float] | None = None
    """Part of the window whose frames are kept, None for all: (20, 30) is a zoom on what the experts labelled."""
    clip: float = 8192.0
    """Channels are clipped to +-clip microvolts before the transform: far above any EEG, because clipped mains have
    overtones that fold into the EEG's band."""
    compression: str = "log"  # `log`: ln(1 + m / unit); `power`: (m / unit)^exponent; `none`: m / unit
    unit: float = 2.0  # microvolts that the compression counts as one
    exponent: float = 0.5  # exponent of the `power` compression; not used by the others

    def __post_init__(self) -> None:
        problems = [
            (self.w0 <= BAND_DEVIATIONS, f"w0 must exceed {BAND_DEVIATIONS} for an analytic wavelet, found {self.w0}"),
            (not 0 < self.f_min < self.f_max < SFREQ / 2, f"need 0 < f_min < f_max < {SFREQ / 2:g} Hz"),
            (self.n_freqs < 2, f"n_freqs must be at least 2, found {self.n_freqs}"),
            (self.stride < 1, f"stride must be at least 1, found {self.stride}"),
            (min(self.clip, self.unit, self.exponent) <= 0, "clip, unit and exponent must be positive"),
            (self.spacing not in ("log", "linear"), f"spacing must be 'log' or 'linear', found {self.spacing!r}"),
            (
                self.compression not in ("log", "power", "none"),
                f"compression must be 'log', 'power' or 'none', found {self.compression!r}",
            ),
            (
                self.seconds is not None and not 0 <= self.seconds[0] < self.seconds[1],
                f"seconds must be (start, stop), found {self.seconds}",
            ),
        ]
        for wrong, message in problems:
            if wrong:
                raise ValueError(f"ScalogramConfig: {message}")

    @property
    def freqs(self) -> np.ndarray:
        """Centre frequencies in hertz, rising, shape (n_freqs,), float64."""
        space = np.geomspace if self.spacing == "log" else np.linspace
        return space(self.f_min, self.f_max, self.n_freqs)

    def kept_frames(self, n_times: int) -> slice:
        """Return which frames of a window of `n_times` samples are kept: all, or those inside `seconds`."""
        n_frames = -(-n_times // self.stride)
        if self.seconds is None:
            return slice(0, n_frames)
        first, last = (min(n_frames, round(second * SFREQ / self.stride)) for second in self.seconds)
        return slice(first, last)

    def shape(self, n_channels: int, n_times: int) -> tuple[int, int, int]:
        """Return (n_channels, n_freqs, n_frames) for an input of `n_times` samples."""
        frames = self.kept_frames(n_times)
        return n_channels, self.n_freqs, frames.stop - frames.start


@dataclass(frozen=True)
class _Filter:
    """One row of the filter bank: the first bin of its band, and the band's weights, doubled for (re, im) pairs."""

    first_bin: int
    weights: np.ndarray


@lru_cache(maxsize=16)
def _build_filters(config: ScalogramConfig, n_times: int) -> tuple[int, list[_Filter]]:
    """Return the length of the short inverse FFT and the filter of every row."""
    slowest = config.w0 / (2 * np.pi * config.f_min) * SFREQ
    n_short = scipy.fft.next_fast_len(int(np.ceil((n_times + TIME_DEVIATIONS * slowest) / config.stride)))
    n_long = n_short * config.stride
    bins = np.arange(n_long // 2 + 1) * (SFREQ / n_long)
    filters = []
    for freq in config.freqs:
        deviations = (bins - freq) * (config.w0 / freq)
        band = np.flatnonzero((np.abs(deviations) <= BAND_DEVIATIONS) & (bins > 0))
        weights = 2 / n_long * np.exp(-0.5 * deviations[band] ** 2)
        filters.append(_Filter(int(band[0]), np.repeat(weights, 2).astype(np.float32)))
    return n_short, filters


def build_magnitude(channels: np.ndarray, config: ScalogramConfig) -> np.ndarray:
    """Compute the wavelet transform's magnitude.

    Parameters
    ----------
    channels : ndarray, shape (n_channels, n_times)
        Finite microvolts at 200 Hz, any number of channels and samples; computed in float32.

    Returns
    -------
    magnitude : ndarray, shape (n_channels, n_freqs, n_frames), float32
        Microvolts. Within 1e-5 of each row's maximum of the float64 closed form, in which the signal is zero before the
        first sample and after the last.
    """
    if channels.ndim != 2 or channels.shape[1] == 0:
        raise ValueError(f"expected channels of shape (n_channels, n_times), found {channels.shape}")
    if not np.isfinite(channels).all():
        raise ValueError("channels hold NaN or infinities: repair them first (kernel.recording.repair_gaps)")
    n_channels, n_times = channels.shape
    n_short, filters = _build_filters(config, n_times)
    frames = config.kept_frames(n_times)
    clipped = np.clip(channels, -config.clip, config.clip).astype(np.float32, copy=False)
    # Complex bins as (re, im) pairs of float32: real weights then cost one contiguous float32 product.
    spectrum = scipy.fft.rfft(clipped, n_short * config.stride).view(np.float32)
    magnitude = np.empty(config.shape(n_channels, n_times), np.float32)
    for row in range(0, config.n_freqs, ROWS_AT_ONCE):
        group = filters[row : row + ROWS_AT_ONCE]
        folded = np.zeros((len(group), n_channels, n_short), np.complex64)
        for band, one in zip(folded.view(np.float32), group, strict=True):
            _fold(spectrum, one, band)
        analytic = scipy.fft.ifft(folded, norm="forward", overwrite_x=True)
        np.abs(analytic[:, :, frames].transpose(1, 0, 2), out=magnitude[:, row : row + len(group)])
    return magnitude


def _fold(spectrum: np.ndarray, one: _Filter, band: np.ndarray) -> None:
    """Write the filtered band to `band` (n_channels, 2 n_short); what exceeds its width is added from its start on."""
    width = band.shape[1]
    for begin in range(0, len(one.weights), width):
        weights = one.weights[begin : begin + width]
        first = 2 * one.first_bin + begin
        part = spectrum[:, first : first + len(weights)]
        if begin == 0:
            np.multiply(part, weights, out=band[:, : len(weights)])
        else:
            band[:, : len(weights)] += part * weights


def compress(magnitude: np.ndarray, config: ScalogramConfig) -> np.ndarray:
    """Compress microvolts to what a network reads, with the configuration's constants alone.

    `magnitude`, float32 of any shape, not negative, is overwritten and returned: ln(1 + m / unit), (m / unit)^exponent
    or m / unit.
    """
    magnitude *= np.float32(1 / config.unit)
    if config.compression == "log":
        np.log1p(magnitude, out=magnitude)
    elif config.compression == "power":
        np.power(magnitude, np.float32(config.exponent), out=magnitude)
    return magnitude


def build_scalogram(channels: np.ndarray, config: ScalogramConfig) -> np.ndarray:
    """Compute a recording's scalogram: `build_magnitude`, then `compress`.

    (n_channels, n_times) -> (n_channels, n_freqs, n_frames), float32: (18, 40, 625) for a window of 50 s under the
    default configuration.
    """
    return compress(build_magnitude(channels, config), config)
