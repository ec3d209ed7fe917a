"""Building a cache: killed, changed, damaged or short of space, the same command ends in the same bytes."""

from __future__ import annotations

import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import build as command_line
from cache.build import Summary, build_cache, choose_folder
from cache.cache import open_cache
from cache.plan import find_windows
from cache.shard import INPUT_LEVELS, pieces_per_shard, shard_path
from kernel.constants import SFREQ, VOTES
from kernel.inputs import InputConfig, RawConfig, build_input
from kernel.recording import read_channels
from kernel.scalogram import ScalogramConfig
from tests.conftest import ROOT, make_eeg, write_recording

SMALL = ScalogramConfig(n_freqs=4, f_min=2, stride=64)
PER_SHARD = pieces_per_shard(SMALL)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
BUILD = """
import sys
from pathlib import Path
from cache.build import build_cache
from tests.test_cache_build import SMALL
build_cache(Path(sys.argv[1]), Path(sys.argv[2]), SMALL, jobs=int(sys.argv[3]), progress=False)
"""
HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def write_data(folder: Path, recordings: Iterable[int], windows: int = 40, gap_seconds: float = 0.5) -> Path:
    """Write recordings with overlapping labelled windows; called again with more ids it adds them."""
    (folder / "train_eegs").mkdir(parents=True, exist_ok=True)
    rows = []
    for eeg_id in recordings:
        path = folder / "train_eegs" / f"{eeg_id}.parquet"
        if not path.exists():
            write_recording(path, make_eeg(10_000 + int(windows * gap_seconds * SFREQ), seed=eeg_id))
        votes = dict(zip(VOTES, np.random.default_rng(eeg_id).integers(1, 5, 6).tolist(), strict=True))
        first = {"eeg_id": eeg_id, "patient_id": eeg_id // 2, **votes}
        rows += [{**first, "eeg_label_offset_seconds": i * gap_seconds} for i in range(windows)]
    pd.DataFrame(rows).to_csv(folder / "train.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), range(1, 8))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "scalogram"
    made = build(data, folder)
    assert (made.windows, made.recordings, made.shards, made.written) == (280, 7, 5, 5)
    return folder


def build(data: Path, folder: Path, config: InputConfig = SMALL, **options: int) -> Summary:
    return build_cache(data, folder, config, **{"jobs": 1, "progress": False, **options})  # type: ignore[arg-type]


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_stored_and_computed_inputs_agree(data: Path, whole: Path) -> None:
    cache = open_cache(whole, SMALL)
    keys = cache.keys[::23]
    computed = np.stack(
        [build_input(read_channels(data / "train_eegs" / f"{eeg}.parquet", int(start)), SMALL) for eeg, start in keys]
    )
    half = np.ptp(computed, axis=-1, keepdims=True) / INPUT_LEVELS / 2
    assert (np.abs(cache.read(keys) - computed) <= half * 1.001 + 1e-6).all()


def test_two_processes_write_the_same_bytes(data: Path, whole: Path, tmp_path: Path) -> None:
    assert build(data, tmp_path, jobs=2).written == 5
    assert read_files(tmp_path) == read_files(whole)


def test_running_again_writes_nothing(data: Path, whole: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in whole.glob("shard_*")}
    assert build(data, whole).written == 0
    assert {path: path.stat().st_mtime_ns for path in whole.glob("shard_*")} == times


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(data: Path, whole: Path, tmp_path: Path) -> None:
    jobs, kills = 1, 0
    for moment in (0, 2, 4):  # shards that are there when the whole group of processes is killed
        process = subprocess.Popen(
            [sys.executable, "-c", BUILD, str(data), str(tmp_path), str(jobs)],
            env=ENVIRONMENT, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
        while process.poll() is None and not (
            (tmp_path / "pieces.npy").exists()
            and len(list(tmp_path.glob("shard_*.npy"))) >= moment
            and list(tmp_path.glob(".shard_*.part"))
        ):
            time.sleep(0.001)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        # What is there can be read at once.
        cache = open_cache(tmp_path, SMALL)
        np.testing.assert_array_equal(cache.read(cache.keys), open_cache(whole, SMALL).read(cache.keys))
        jobs = 3 - jobs
    assert kills >= 2
    build(data, tmp_path)
    assert read_files(tmp_path) == read_files(whole)


def test_new_recordings_are_added_and_the_old_ones_kept(data: Path, tmp_path: Path) -> None:
    grown = write_data(shutil.copytree(data, tmp_path / "data"), range(1, 6))
    built = tmp_path / "built"
    assert build(grown, built).shards == 4
    early = {path: path.stat().st_mtime_ns for path in sorted(built.glob("shard_*"))[:3]}
    write_data(grown, range(1, 8))
    made = build(grown, built)
    assert (made.windows, made.written) == (280, 2)  # the last, partial shard and the one after it
    assert {path: path.stat().st_mtime_ns for path in early} == early
    with pytest.raises(ValueError, match="holds windows of another data set only"):
        build(write_data(tmp_path / "other", [99], windows=2), built)


def test_a_changed_recording_is_redone(data: Path, whole: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(data, tmp_path / "data")
    built = shutil.copytree(whole, tmp_path / "built")
    path = changed / "train_eegs" / "3.parquet"
    stat = path.stat()
    write_recording(path, make_eeg(14_000, seed=77))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # its date says nothing
    made = build(changed, built)
    assert made.written == 1 + (80 // PER_SHARD != 119 // PER_SHARD)
    build(changed, tmp_path / "fresh")
    assert read_files(built) == read_files(tmp_path / "fresh")
    os.utime(path)
    assert build(changed, built).written == 0


@pytest.mark.parametrize("damage", ["truncated", "altered", "gone"])
def test_damage_is_repaired_by_running_again(data: Path, whole: Path, tmp_path: Path, damage: str) -> None:
    built = shutil.copytree(whole, tmp_path / "built")
    path = shard_path(built, 2)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:5000] if damage == "truncated" else content)
        cache = open_cache(built, SMALL)
        with pytest.raises(ValueError, match=rf"shard_00002\.npy: {damage}"):
            cache.read(cache.keys)
    assert build(data, built).written == 1
    assert read_files(built) == read_files(whole)


def _limit_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


def test_a_full_disk_is_one_clear_line_and_costs_nothing_stored(data: Path, whole: Path, tmp_path: Path) -> None:
    built = shutil.copytree(whole, tmp_path / "built")
    for index in (3, 4):
        shard_path(built, index).unlink()
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(data), str(built), "1"],
        env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, preexec_fn=_limit_files,
    )  # fmt: skip
    assert done.returncode != 0
    assert "no space left to write" in done.stderr.splitlines()[-1]
    assert not list(built.glob(".*.part"))
    cache = open_cache(built, SMALL)
    assert len(cache) == 3 * PER_SHARD
    np.testing.assert_array_equal(cache.read(cache.keys), open_cache(whole, SMALL).read(cache.keys))


def test_too_small_a_disk_is_found_before_starting(data: Path, tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=1m none {tmp_path}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here (unshare is not allowed)")
    command = f"{mount} && {shlex.quote(sys.executable)} -c '{BUILD}' {data} {tmp_path}/built 1; ls {tmp_path}/built"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command], env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True
    )
    assert re.search(r"built: needs [34]\.\d MB more, the disk has [01]\.\d MB free", done.stderr.splitlines()[-1])
    assert done.stdout == ""


def test_an_unreadable_recording_is_named_and_the_others_are_stored(data: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(data, tmp_path / "data")
    (broken / "train_eegs" / "7.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"7\.parquet: not a readable parquet file.*2 of 5 shards are not written"):
        build(broken, tmp_path / "built")
    assert len(open_cache(tmp_path / "built", SMALL)) == 3 * PER_SHARD
    shutil.copy(data / "train_eegs" / "7.parquet", broken / "train_eegs")
    assert build(broken, tmp_path / "built").written == 2


def test_a_second_builder_waits_outside(data: Path, whole: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(whole / ".lock")], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ValueError, match="another `cache` command is building it"):
            build(data, whole)
    finally:
        holder.kill()
        holder.wait()
    assert build(data, whole).written == 0


def test_windows_are_the_distinct_labelled_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"eeg_id": rng.integers(1, 9, 400), "eeg_label_offset_seconds": 2.0 * rng.integers(0, 40, 400)})
    for name in VOTES:
        rows[name] = rng.integers(0, 2, 400) if name == "lpd_vote" else 1
    rows = rows.drop_duplicates(["eeg_id", "eeg_label_offset_seconds"]).assign(patient_id=1)
    (tmp_path / "train_eegs").mkdir()
    pd.concat([rows, rows.head(9)]).to_csv(tmp_path / "train.csv", index=False)
    every = find_windows(tmp_path)
    expected = sorted({(int(eeg), int(s * SFREQ)) for eeg, s in rows.to_numpy()[:, :2]})
    assert list(map(tuple, every.tolist())) == expected
    for limit in (1, 2, 5, 100):
        chosen = []
        for _, group in rows.groupby(["eeg_id", "lpd_vote"]):
            group = group.sort_values("eeg_label_offset_seconds")
            kept = min(limit, len(group))
            places = [int((i + 0.5) * len(group) / kept) for i in range(kept)]
            chosen += [(int(eeg), int(s * SFREQ)) for eeg, s in group.to_numpy()[places, :2]]
        assert list(map(tuple, find_windows(tmp_path, limit).tolist())) == sorted(chosen)


def test_the_command(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["cache", "--data", str(data), "--out", str(tmp_path), "--per-pattern", "2", "--jobs", "1"]
    assert command_line.main(call) == 0
    assert "channels: 14 windows of 7 recordings, 3.5 MB; 1 of 1 shards written" in capsys.readouterr().out
    assert command_line.main(call) == 0
    assert "0 of 1 shards written" in capsys.readouterr().out
    assert command_line.main([*call[:2], str(tmp_path / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert command_line.main([*call, "--model", "baseline_b2"]) == 0
    assert "scalogram: 14 windows of 7 recordings, 6.4 MB; 1 of 1 shards written" in capsys.readouterr().out
    assert choose_folder(tmp_path, None) == tmp_path / "channels"
    assert choose_folder(tmp_path, SMALL) == tmp_path / "scalogram_2"
    assert choose_folder(tmp_path, RawConfig()) == tmp_path / "raw"


def test_channels_are_built_under_the_same_guarantees(data: Path, tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "folder"
    made = build_cache(data, whole, jobs=1, progress=False)
    assert (made.windows, made.recordings, made.shards) == (280, 7, 1)
    assert len(open_cache(whole, None)) == 7 * 7  # 70 s of each recording, 10 s a piece: overlapping windows share them
    grown = write_data(shutil.copytree(data, tmp_path / "data"), range(1, 4))
    build_cache(grown, folder, jobs=2, progress=False)
    keys = [(2, 0), (3, 3_900)]
    early = open_cache(folder, None).read(keys)
    write_data(grown, range(1, 8))
    assert build_cache(grown, folder, jobs=2, progress=False).written == 1
    assert read_files(folder) == read_files(whole)
    np.testing.assert_array_equal(open_cache(folder, None).read(keys), early)

    records = np.load(shard_path(folder, 0), mmap_mode="r+")
    records["codes"][9, 4, 700] ^= 1
    records.flush()
    cache = open_cache(folder, None)
    np.testing.assert_array_equal(cache.read([(1, 0)]), open_cache(whole, None).read([(1, 0)]))
    with pytest.raises(ValueError, match=r"shard_00000\.npy: altered, the checksum of record 9 differs; run `python"):
        cache.read(keys)
    assert build_cache(grown, folder, jobs=1, progress=False).written == 1
    assert read_files(folder) == read_files(whole)

    write_recording(grown / "train_eegs" / "3.parquet", make_eeg(16_000, seed=3))  # it has grown
    assert build_cache(grown, folder, jobs=1, progress=False).written == 1
    live = read_channels(grown / "train_eegs" / "3.parquet", 3_900)
    np.testing.assert_allclose(open_cache(folder, None).read([(3, 3_900)])[0], live, atol=0.02)
    write_recording(grown / "train_eegs" / "3.parquet", make_eeg(3_000, seed=3))
    with pytest.raises(
        ValueError, match=r"3\.parquet: ends at 15 s, but train\.csv has a window that starts at 19\.5 s"
    ):
        build_cache(grown, folder, jobs=1, progress=False)
