"""The cache: what comes out is what went in, within half a step, or an error that names the file."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from cache.cache import Cache, find_cache, open_cache
from cache.config import create_cache
from cache.shard import INPUT_LEVELS, Piece, decode, shard_path, write_shard
from kernel.inputs import InputConfig, RawConfig, build_input
from kernel.recording import build_channels
from kernel.scalogram import ScalogramConfig
from tests.conftest import ROOT, make_eeg

SMALL = ScalogramConfig(n_freqs=4, stride=64)
KEYS = [(7, 0), (7, 400), (8, 0)]


def build(config: InputConfig) -> np.ndarray:
    return np.stack([build_input(build_channels(make_eeg(seed=i)), config) for i in range(len(KEYS))])


def write_cache(folder: Path, config: InputConfig = SMALL) -> np.ndarray:
    values = build(config)
    create_cache(folder, config, np.array(KEYS))
    pieces = [Piece(key, one) for key, one in zip(KEYS, values, strict=True)]
    write_shard(folder, 0, config, len(pieces), pieces)
    return values


@pytest.mark.parametrize("config", [ScalogramConfig(), SMALL, RawConfig(), ScalogramConfig(seconds=(20, 30), stride=4)])
def test_values_come_back_within_half_a_step(tmp_path: Path, config: InputConfig) -> None:
    values = write_cache(tmp_path, config)
    cache = open_cache(tmp_path, config)
    read = cache.read(KEYS[::-1])[::-1]
    half = np.ptp(values, axis=-1, keepdims=True) / INPUT_LEVELS / 2
    assert read.dtype == np.float32
    assert (np.abs(read - values) <= half * 1.001 + 1e-6).all()
    assert np.abs(read - values).max() > 0
    assert len(cache) == 3
    assert (7, 400) in cache
    assert (7, 401) not in cache
    with pytest.raises(KeyError):
        cache.read([(7, 401)])


def test_rows_without_signal_are_exact(tmp_path: Path) -> None:
    values = build(SMALL)
    values[:, 3] = 0
    values[:, 4] = 1.25
    create_cache(tmp_path, SMALL, np.array(KEYS))
    write_shard(tmp_path, 0, SMALL, 3, [Piece(key, one) for key, one in zip(KEYS, values, strict=True)])
    read = open_cache(tmp_path, SMALL).read(KEYS)
    assert (read[:, 3] == 0).all()
    assert (read[:, 4] == 1.25).all()


def test_a_shard_opens_with_numpy_alone(tmp_path: Path) -> None:
    write_cache(tmp_path)
    records = np.load(shard_path(tmp_path, 0), mmap_mode="r")
    by_hand = records["low"][..., None] + records["step"][..., None] * records["codes"].astype(np.float32)
    np.testing.assert_allclose(by_hand, open_cache(tmp_path, SMALL).read(KEYS), rtol=1e-6, atol=1e-6)
    assert records["start"].tolist() == [0, 400, 0]
    np.testing.assert_array_equal(decode(records[1:2]), open_cache(tmp_path, SMALL).read(KEYS[1:2]))


def test_another_configuration_is_refused_by_the_names_of_its_fields(tmp_path: Path) -> None:
    write_cache(tmp_path)
    with pytest.raises(ValueError, match=r"w0 is 7\.0 there, 9\.5 asked, unit is 2\.0 there, 3\.0 asked;") as error:
        open_cache(tmp_path, replace(SMALL, w0=9.5, unit=3.0))
    assert str(tmp_path) in str(error.value)
    assert "n_freqs" not in str(error.value)
    with pytest.raises(ValueError, match="kind is scalogram there, raw asked"):
        open_cache(tmp_path, RawConfig())
    with pytest.raises(ValueError, match="holds something else"):
        create_cache(tmp_path, replace(SMALL, w0=9.5), np.array(KEYS))


def test_the_numbers_of_other_code_are_refused(tmp_path: Path) -> None:
    write_cache(tmp_path)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    values["probe"] = [1.01 * value for value in values["probe"]]
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="the code computes other numbers"):
        open_cache(tmp_path, SMALL)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("format", 0, "format 0, this code reads 2"), ("content", {"kind": "sound"}, "unknown kind of input 'sound'")],
)
def test_a_cache_of_another_version_is_refused(tmp_path: Path, field: str, value: object, said: str) -> None:
    write_cache(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(ValueError, match=said):
        open_cache(tmp_path, SMALL)
    path.write_text("{")
    with pytest.raises(ValueError, match="not a cache's configuration"):
        open_cache(tmp_path, SMALL)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"build\.py cache"):
        open_cache(tmp_path, SMALL)


def test_find_cache_says_what_each_cache_holds_instead(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no cache there"):
        find_cache(tmp_path, SMALL)
    write_cache(tmp_path / "a")
    write_cache(tmp_path / "b", RawConfig())
    assert find_cache(tmp_path, RawConfig()).folder == tmp_path / "b"
    with pytest.raises(ValueError, match=r"a: .*w0 is 7\.0.*b: .*kind is raw"):
        find_cache(tmp_path, replace(SMALL, w0=8.0))


@pytest.mark.parametrize("place", ["eeg_id", "low", "step", "codes", "crc32"])
def test_an_altered_byte_is_found_and_named(tmp_path: Path, place: str) -> None:
    values = write_cache(tmp_path)
    path = shard_path(tmp_path, 0)
    records = np.load(path, mmap_mode="r+")
    records[1:2][place].reshape(-1)[-1:].view(np.uint8)[0] ^= 4
    records.flush()
    cache = open_cache(tmp_path, SMALL)
    np.testing.assert_allclose(cache.read(KEYS[:1])[0], values[0], atol=0.02)
    with pytest.raises(ValueError, match=r"shard_00000\.npy: altered, the checksum of record 1 differs; run `python"):
        cache.read(KEYS)
    assert cache.read(KEYS[2:]).shape == (1, 18, 4, 157)


@pytest.mark.parametrize("kept", [0, 20, 2000, -1])
def test_a_truncated_shard_is_found_and_named(tmp_path: Path, kept: int) -> None:
    write_cache(tmp_path)
    before = open_cache(tmp_path, SMALL)
    path = shard_path(tmp_path, 0)
    path.write_bytes(path.read_bytes()[:kept])
    for cache in (before, open_cache(tmp_path, SMALL)):
        with pytest.raises(ValueError, match=r"shard_00000\.npy: (truncated|altered), .*record"):
            cache.read(KEYS)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"shard_00000\.npy: no such file any more"):
        before.read(KEYS)
    assert len(open_cache(tmp_path, SMALL)) == 0


def _read_all(cache: Cache) -> np.ndarray:
    return np.stack([cache.read(KEYS) for _ in range(20)])


def test_several_processes_read_at_once(tmp_path: Path) -> None:
    write_cache(tmp_path)
    cache = open_cache(tmp_path, SMALL)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        reads = [pool.submit(_read_all, cache) for _ in range(4)]
        for read in reads:
            np.testing.assert_array_equal(read.result(), np.stack([cache.read(KEYS)] * 20))


def test_the_kernel_reads_with_numpy_and_little_else() -> None:
    names = ("pandas", "tensorflow", "keras", "dask", "joblib")
    code = f"import sys, cache.cache; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
