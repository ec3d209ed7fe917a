"""The cache: what comes out is what went in, within half a step, or an error that names the file."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from cache.cache import Cache, create_cache
from cache.shard import BLOCK, LEVELS, decode, encode, shard_path, write_shard
from kernel.montage import build_montage
from kernel.recording import pad_window, repair_gaps
from tests.conftest import ROOT, make_eeg

KEYS = [(7, 0), (7, BLOCK), (8, 0)]
LENGTHS = {7: 3_500, 8: 2_000}


def build_pieces() -> np.ndarray:
    pieces = np.stack([build_montage(make_eeg(BLOCK, seed=i)) for i in range(len(KEYS))])
    pieces[1, :, 1_500:] = np.nan  # after the recording's end
    pieces[0, 4, 300:320] = np.nan
    return pieces


def write_cache(folder: Path, pieces: np.ndarray | None = None) -> np.ndarray:
    """Write a cache of two short recordings; return their windows as they were before."""
    pieces = build_pieces() if pieces is None else pieces
    create_cache(folder, np.array(KEYS))
    records = [encode(key, one, (0, 0), LENGTHS[key[0]]) for key, one in zip(KEYS, pieces, strict=True)]
    write_shard(shard_path(folder, 0), len(records), records)
    whole = (np.concatenate([pieces[0], pieces[1, :, :1_500]], axis=1), pieces[2])
    return np.stack([pad_window(repair_gaps(channels)) for channels in whole])


def read_all(cache: Cache) -> np.ndarray:
    return np.stack([cache.read(7, 0), cache.read(8, 0)])


def test_values_come_back_within_half_a_step(tmp_path: Path) -> None:
    written = write_cache(tmp_path)
    cache = Cache(tmp_path)
    read = read_all(cache)
    assert read.dtype == np.float32
    # Half a step of the range of 10 s, and as much again where the median that is taken away moves.
    assert np.abs(read - written).max() <= 1.01 * np.ptp(written, axis=2).max() / LEVELS + 1e-5
    assert np.abs(read - written).max() > 0
    assert len(cache) == len(cache.planned) == 3
    with pytest.raises(KeyError):
        cache.read(9, 0)


def test_channels_without_signal_and_gaps_are_exact(tmp_path: Path) -> None:
    pieces = build_pieces()
    pieces[:, 3], pieces[:, 5] = 0, np.nan
    pieces[2, 4] = 1.25
    records = np.concatenate([encode(key, one, (1, 2), 3) for key, one in zip(KEYS, pieces, strict=True)])
    values = np.stack([decode(records[row : row + 1]) for row in range(3)])
    np.testing.assert_array_equal(np.isnan(values), np.isnan(pieces))
    assert (values[:, 3][:2, :1_500] == 0).all()
    assert (values[2, 4] == 1.25).all()


def test_a_shard_opens_with_numpy_alone(tmp_path: Path) -> None:
    write_cache(tmp_path)
    records = np.load(shard_path(tmp_path, 0), mmap_mode="r")
    by_hand = records["low"][2, :, None] + records["step"][2, :, None] * records["codes"][2].astype(np.float32)
    by_hand -= np.median(by_hand, axis=1, keepdims=True)
    np.testing.assert_allclose(pad_window(by_hand), Cache(tmp_path).read(8, 0), rtol=1e-6, atol=1e-5)
    assert records["start"].tolist() == [0, BLOCK, 0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format is 2 there, 3 here"),
        ({"montage": [1.0, 2.0]}, r"was written by other code: montage is \[1.0, 2.0\] there"),
        (None, "not a readable cache"),
    ],
)
def test_a_cache_of_other_code_is_refused_by_the_names_of_its_fields(
    tmp_path: Path, change: dict[str, object] | None, said: str
) -> None:
    write_cache(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}) if change else "{")
    with pytest.raises(ValueError, match=f"{tmp_path}: .*{said}.*remove it and build it again"):
        Cache(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"build\.py cache"):
        Cache(tmp_path)


@pytest.mark.parametrize("place", ["eeg_id", "low", "step", "codes", "crc32"])
def test_an_altered_byte_is_found_and_named(tmp_path: Path, place: str) -> None:
    written = write_cache(tmp_path)
    records = np.load(shard_path(tmp_path, 0), mmap_mode="r+")
    records[1:2][place].reshape(-1)[-1:].view(np.uint8)[0] ^= 4
    records.flush()
    cache = Cache(tmp_path)
    np.testing.assert_allclose(cache.read(8, 0), written[1], atol=0.02)
    with pytest.raises(ValueError, match=r"shard_00000\.npy: altered, the checksum of record 1 differs; run `python"):
        cache.read(7, 0)


@pytest.mark.parametrize("kept", [0, 20, 2000, -1])
def test_a_truncated_shard_is_found_and_named(tmp_path: Path, kept: int) -> None:
    write_cache(tmp_path)
    before = Cache(tmp_path)
    path = shard_path(tmp_path, 0)
    path.write_bytes(path.read_bytes()[:kept])
    for cache in (before, Cache(tmp_path)):
        with pytest.raises(ValueError, match=r"shard_00000\.npy: (truncated|altered), .*record"):
            read_all(cache)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"shard_00000\.npy: no such file any more"):
        before.read(8, 0)
    assert len(Cache(tmp_path)) == 0


def test_several_processes_read_at_once(tmp_path: Path) -> None:
    write_cache(tmp_path)
    cache = Cache(tmp_path)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for read in [pool.submit(read_all, cache) for _ in range(20)]:
            np.testing.assert_array_equal(read.result(), read_all(cache))


def test_reading_needs_numpy_and_little_else() -> None:
    names = ("pandas", "tensorflow", "keras", "dask", "joblib")
    code = f"import sys, cache.cache; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
