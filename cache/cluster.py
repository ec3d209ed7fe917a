"""Runs one function over many arguments on an existing Dask cluster, with this checkout's code.

The workers get the rooms that the work needs as an archive, so that they run this very code; they must see the same
folders under the same paths. Work that a lost worker had begun is given to another. Dask is imported here only.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("kernel", "cache")
SECONDS_TO_CONNECT, SECONDS_FOR_WORKERS = 5, 30


def map_on_cluster(address: str, function: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterator[Any]:
    """Yield the results as they come, in any order."""
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise ValueError(
            "--scheduler needs Dask: `pip install -r requirements-cluster.txt` (in .venv), here and on the workers"
        ) from None

    try:
        client = Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"--scheduler {address}: no Dask scheduler answers there ({error}); is it running?") from None
    with client, tempfile.TemporaryDirectory() as folder:
        try:
            client.wait_for_workers(1, timeout=SECONDS_FOR_WORKERS)
        except TimeoutError:
            raise ValueError(f"--scheduler {address}: no workers there; start `dask worker {address}`") from None
        client.upload_file(str(pack_code(Path(folder))))
        futures = client.map(function, arguments, pure=False)
        try:
            for future in as_completed(futures, loop=client.loop):
                yield future.result()
                future.release()
        finally:
            client.cancel(futures)


def pack_code(folder: Path) -> Path:
    """Write the rooms' modules into an archive that Python imports from."""
    path = folder / "hms_rooms.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for room in ROOMS:
            for module in sorted((ROOT / room).glob("*.py")):
                archive.write(module, f"{room}/{module.name}")
    return path
