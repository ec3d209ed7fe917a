"""The cache built on a real Dask cluster on loopback: a worker is killed midway, the bytes are the same."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from cache.build import build_cache
from tests.test_cache_build import read_files, write_data

pytest.importorskip("distributed", reason="Dask is not installed: pip install -r requirements-cluster.txt")

LOOPBACK = "127.0.0.1"


@contextmanager
def running(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Dask process away from the checkout, so that it can have our code from the client only."""
    environment = {**os.environ, "DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "60s"}
    environment.pop("PYTHONPATH", None)
    log = (cwd / f"{arguments[0]}.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]],
        cwd=cwd, env=environment, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        log.close()


def free_port() -> int:
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        return int(found.getsockname()[1])


def wait_for_port(port: int) -> None:
    for _ in range(600):
        with socket.socket() as attempt:
            if attempt.connect_ex((LOOPBACK, port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing answers at port {port}")


def test_a_lost_worker_changes_nothing(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", range(1, 9))
    port = free_port()
    address = f"tcp://{LOOPBACK}:{port}"
    built = tmp_path / "cluster"
    lost = []
    with ExitStack() as cluster:
        cwd = tmp_path / "elsewhere"
        cwd.mkdir()
        cluster.enter_context(
            running("dask_scheduler", "--host", LOOPBACK, "--port", str(port), "--no-dashboard", cwd=cwd)
        )
        wait_for_port(port)
        options = ("--host", LOOPBACK, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        workers = [cluster.enter_context(running("dask_worker", address, *options, cwd=cwd)) for _ in range(2)]

        def lose_a_worker() -> None:
            while not list(built.glob("shard_*.npy")):
                time.sleep(0.005)
            # In the midst of a shard: two unfinished files, one of them this worker's.
            while len(list(built.glob(".shard_*.part"))) < 2 and len(list(built.glob("shard_*.npy"))) < 3:
                time.sleep(0.001)
            workers[0].send_signal(signal.SIGKILL)
            lost.append(len(list(built.glob("shard_*.npy"))))

        thread = threading.Thread(target=lose_a_worker, daemon=True)
        thread.start()
        made = build_cache(data, built, scheduler=address, progress=False)
        thread.join(10)
        assert workers[0].wait(10) == -signal.SIGKILL
        assert workers[1].poll() is None
    assert lost
    # A shard that the lost worker had just written is found to be in order by the one that takes over.
    assert lost[0] < made.shards == 5
    assert made.written in (4, 5)
    build_cache(data, tmp_path / "alone", jobs=1, progress=False)
    assert read_files(built) == read_files(tmp_path / "alone")


def test_no_scheduler_is_one_clear_line(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", [1], windows=1)
    address = f"tcp://{LOOPBACK}:{free_port()}"
    with pytest.raises(ValueError, match=f"--scheduler {address}: no Dask scheduler answers there"):
        build_cache(data, tmp_path / "built", scheduler=address, progress=False)
    with pytest.raises(ValueError, match="--scheduler nonsense://x: no Dask scheduler"):
        build_cache(data, tmp_path / "built", scheduler="nonsense://x", progress=False)
