"""Random reads of stored windows: our records against Arrow, HDF5, Zarr, TFRecord, memory maps and a file per window.

`python -m benchmarks.cache_formats` (part of `make bench`). Every format holds the very same encoded records. Methods
take turns, round after round, so that the machine's drift hits all alike; the best round counts. "Cold" means that the
system was told to forget the files (`posix_fadvise`), and is wall-clock time; "warm" means that they were just read,
and is processor time, which others on the machine do not change much.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa

from cache.cache import WINDOWS_PER_SHARD, create_cache, open_cache
from cache.shard import Window, encode, write_shard
from kernel.inputs import InputConfig, build_input
from kernel.recording import build_channels
from kernel.scalogram import ScalogramConfig
from simulator.generate import simulate_window

BATCH, ROUNDS = 32, 4
OURS, WHOLE = "npy, read at an offset (ours)", "Cache.read: verified, decoded to float32"
COMPUTED = "computing it from channels in memory"
Read = Callable[[int], np.ndarray]
"""Place of a window -> its encoded bytes."""
Open = Callable[[], Read]
Write = Callable[[Path, list[np.ndarray], int], dict[str, Open]]
"""(empty folder, records, how many windows to write) -> methods to read them, each opened anew in every round: what is
still mapped cannot be forgotten."""


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def forget(folder: Path) -> None:
    """Have the system drop the folder's files from memory."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def split(place: int) -> tuple[int, int]:
    """Return a window's shard and its row there."""
    return divmod(place, WINDOWS_PER_SHARD)


def in_shards(records: list[np.ndarray], count: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each shard's number and records, (n, size) uint8; `count` records, the given ones over and over."""
    for first in range(0, count, WINDOWS_PER_SHARD):
        places = range(first, min(first + WINDOWS_PER_SHARD, count))
        yield first // WINDOWS_PER_SHARD, np.stack([records[place % len(records)] for place in places])


def write_npy(folder: Path, records: list[np.ndarray], count: int) -> dict[str, Open]:
    """Plain shards, read at an offset or mapped."""
    for number, shard in in_shards(records, count):
        np.save(folder / f"{number}.npy", shard)
    paths = [folder / f"{number}.npy" for number in range(number + 1)]
    size, header = len(records[0]), paths[0].stat().st_size - shard_size(records, count)

    def read_at_offset() -> Read:
        buffer = np.empty(size, np.uint8)

        def read(place: int) -> np.ndarray:
            number, row = split(place)
            file = os.open(paths[number], os.O_RDONLY)
            os.preadv(file, [buffer.data], header + row * size)
            os.close(file)
            return buffer

        return read

    def read_mapped() -> Read:
        maps = [np.load(path, mmap_mode="r") for path in paths]
        return lambda place: maps[split(place)[0]][split(place)[1]]

    return {OURS: read_at_offset, "npy, memory-mapped": read_mapped}


def shard_size(records: list[np.ndarray], count: int) -> int:
    """Return the bytes of the first shard's records."""
    return min(WINDOWS_PER_SHARD, count) * len(records[0])


def write_arrow(folder: Path, records: list[np.ndarray], count: int, codec: str | None = None) -> dict[str, Open]:
    """Arrow IPC files, a record batch per window, mapped."""
    schema = pa.schema([("record", pa.binary(len(records[0])))])
    options = pa.ipc.IpcWriteOptions(compression=codec)
    for number, shard in in_shards(records, count):
        path = str(folder / f"{number}.arrow")
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, schema, options=options) as writer:
            for record in shard:
                column = pa.array([record.tobytes()], schema.field(0).type)
                writer.write_batch(pa.record_batch([column], schema=schema))
    n_shards = number + 1

    def read_arrow() -> Read:
        files = [pa.ipc.open_file(pa.memory_map(str(folder / f"{number}.arrow"))) for number in range(n_shards)]

        def read(place: int) -> np.ndarray:
            number, row = split(place)
            return np.frombuffer(files[number].get_batch(row).column(0).buffers()[1], np.uint8)

        return read

    return {f"Arrow IPC, {codec or 'memory-mapped'}": read_arrow}


def write_hdf5(folder: Path, records: list[np.ndarray], count: int) -> dict[str, Open]:
    """HDF5 files, a chunk per window."""
    for number, shard in in_shards(records, count):
        with h5py.File(folder / f"{number}.h5", "w") as file:
            file.create_dataset("records", data=shard, chunks=(1, shard.shape[1]))
    n_shards = number + 1

    def read_hdf5() -> Read:
        files = [h5py.File(folder / f"{number}.h5")["records"] for number in range(n_shards)]
        return lambda place: files[split(place)[0]][split(place)[1]]

    return {"HDF5, a chunk per window": read_hdf5}


def write_zarr(folder: Path, records: list[np.ndarray], count: int) -> dict[str, Open]:
    """One Zarr array, a chunk and thus a file per window."""
    try:
        import zarr
    except ImportError:
        print("Zarr is not installed (benchmarks/requirements.txt): left out")
        return {}
    size = len(records[0])
    array: Any = zarr.create_array(folder / "z", shape=(count, size), chunks=(1, size), dtype="u1", compressors=None)
    for number, shard in in_shards(records, count):
        array[number * WINDOWS_PER_SHARD : number * WINDOWS_PER_SHARD + len(shard)] = shard

    def read_zarr() -> Read:
        opened: Any = zarr.open_array(folder / "z", mode="r")
        return lambda place: opened[place]

    return {"Zarr, a chunk per window": read_zarr}


def write_single(folder: Path, records: list[np.ndarray], count: int) -> dict[str, Open]:
    """One `.npy` per window."""
    for place in range(count):
        np.save(folder / f"{place}.npy", records[place % len(records)])
    return {"npy, a file per window": lambda: lambda place: np.load(folder / f"{place}.npy")}


def read_tfrecords(folder: Path, records: list[np.ndarray], count: int) -> float:
    """Return seconds per window of reading a TFRecord file in order, which is the only order that it has."""
    import tensorflow as tf

    path = str(folder / "windows.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for place in range(count):
            writer.write(records[place % len(records)].tobytes())

    def read() -> None:
        for one in tf.data.TFRecordDataset(path):
            np.frombuffer(one.numpy(), np.uint8)

    return min(seconds_of(read) for _ in range(ROUNDS)) / count


def read_all(read: Read, places: list[int], target: np.ndarray) -> None:
    """Read windows one after the other, each into `target`."""
    for place in places:
        np.copyto(target, read(place))


def read_in_order(folder: Path) -> None:
    """Read all files of a folder from end to end."""
    buffer = bytearray(1 << 20)
    for path in sorted(folder.iterdir()):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def write_store(folder: Path, config: InputConfig, values: list[np.ndarray], count: int) -> None:
    """Write a store of `count` windows, the given values over and over."""
    create_cache(folder, config, np.array([(place, 0) for place in range(count)]))
    for first in range(0, count, WINDOWS_PER_SHARD):
        places = range(first, min(first + WINDOWS_PER_SHARD, count))
        windows = [Window((place, 0), values[place % len(values)]) for place in places]
        write_shard(folder, first // WINDOWS_PER_SHARD, config, len(windows), windows)


class Times:
    """Seconds per window of each method, cold and warm, over the rounds."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[list[float], list[float]]] = {}

    def take(self, method: str, folder: Path | None, work: Callable[[], object], windows: int) -> None:
        """Run `work` cold, by the clock, where a folder can be forgotten; then warm, by the processor's time."""
        cold, warm = self.found.setdefault(method, ([], []))
        if folder is not None:
            forget(folder)
            cold.append(seconds_of(work) / windows)
        started = time.process_time()
        work()
        warm.append((time.process_time() - started) / windows)

    def best(self, method: str) -> tuple[float, float]:
        """Return (cold, warm)."""
        cold, warm = self.found[method]
        return min(cold, default=float("nan")), min(warm)


def measure_formats(channels: list[np.ndarray], config: InputConfig, count: int) -> None:
    """Print how long reading a window at random takes in every format, and our whole way to float32."""
    values = [build_input(one, config) for one in channels]
    records = [encode(Window((place, 0), one), config).copy() for place, one in enumerate(values)]
    size, rng, times = len(records[0]), np.random.default_rng(0), Times()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        methods: dict[str, tuple[Path, Open]] = {}
        arrow: list[Write] = [partial(write_arrow, codec=codec) for codec in (None, "lz4", "zstd")]
        for number, write in enumerate([write_npy, *arrow, write_hdf5, write_zarr, write_single]):
            folder = root / str(number)
            folder.mkdir()
            methods |= {method: (folder, opens) for method, opens in write(folder, records, count).items()}
        write_store(root / "store", config, values, count)
        out, other = np.zeros((2, BATCH, *values[0].shape), np.float32)
        target = np.empty(size, np.uint8)
        for _ in range(ROUNDS):
            places = rng.permutation(count)[: max(BATCH, count // 4)].tolist()
            for method, (folder, opens) in methods.items():
                times.take(method, folder, partial(read_all, opens(), places, target), len(places))
            cache = open_cache(root / "store", config)

            def read_batches(cache: Any = cache, places: list[int] = places) -> None:
                for first in range(0, len(places) - BATCH + 1, BATCH):
                    cache.read([(place, 0) for place in places[first : first + BATCH]], out=out)

            times.take(WHOLE, root / "store", read_batches, len(places) // BATCH * BATCH)
            times.take("disk: the npy shards in order", root / "0", lambda: read_in_order(root / "0"), count)
            times.take("memory: copying the float32 batch", None, lambda: np.copyto(other, out), BATCH)
        tfrecord = read_tfrecords(root, records, count)
    times.take(COMPUTED, None, lambda: [build_input(one, config) for one in channels], len(channels))
    base = times.best(OURS)[1]
    print(f"\nreading windows of {size / 1e6:.3f} MB at random, one thread, {count} windows; ratio of the warm times")
    print(f"{'':42} {'cold ms':>8} {'GB/s':>6} {'warm ms':>8} {'GB/s':>6} {'ratio':>6}")
    for method in times.found:
        cold, warm = times.best(method)
        rates = f"{cold * 1e3:8.3f} {size / cold / 1e9:6.2f} {warm * 1e3:8.3f} {size / warm / 1e9:6.2f}"
        print(f"{method:42} {rates} {warm / base:6.2f}")
    rates = f"{tfrecord * 1e3:8.3f} {size / tfrecord / 1e9:6.2f} {tfrecord / base:6.2f}"
    print(f"{'TFRecord, in order only':42} {'':15} {rates}")
    print(f"Cache.read is {times.best(COMPUTED)[1] / times.best(WHOLE)[1]:.1f} times as fast as computing")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=512, help="windows in each format [%(default)s]")
    args = parser.parse_args()
    channels = [build_channels(simulate_window(0, index).samples) for index in range(BATCH)]
    measure_formats(channels, ScalogramConfig(), args.windows)


if __name__ == "__main__":
    main()
