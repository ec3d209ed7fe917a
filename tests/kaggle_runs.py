"""Executes what is pushed to the loopback service, in the rehearsal's sandbox, with its sources mounted."""

from __future__ import annotations

import threading
from pathlib import Path

from rehearsal.run import mount, run_kernel
from tests.kaggle_server import Kaggle, KernelVersion, as_log

LAYOUT = "nested"


class Executor:
    """Runs kernels one after another; competitions lie in folders, models are empty, all else the service holds."""

    def __init__(self, server: Kaggle, folder: Path, competitions: dict[str, dict[str, Path]]) -> None:
        self.server, self.folder, self.competitions = server, folder, competitions
        self._one = threading.Lock()
        server.execute = self.run

    def run(self, ref: str, version: KernelVersion) -> None:
        """Execute one version; its outputs and log appear at the service."""
        with self._one:
            place = self.folder / f"{ref.replace('/', '_')}_{self.server.kernels[ref].index(version) + 1}"
            working = place / "working"
            try:
                code_file = _write(place, "script.py", version.request["text"].encode())
                run_kernel(code_file, self._mounts(version, place), working, log=lambda _: None)
                status = "COMPLETE"
            except (ValueError, OSError) as error:
                status = "ERROR"
                self.server.failure = str(error)
            files = {path.relative_to(working).as_posix(): path for path in working.rglob("*") if path.is_file()}
            log = files.pop("kernel.log", None)
            version.log = as_log(log.read_text()) if log else ""
            version.outputs = {name: path.read_bytes() for name, path in files.items()}
            version.status = status

    def _mounts(self, version: KernelVersion, place: Path) -> dict[str, Path]:
        mounts = {}
        for ref in version.request.get("datasetDataSources", []):
            mounts[mount("dataset", ref, LAYOUT)] = place / "dataset"
            for name, content in self.server.datasets[ref].versions[-1].files.items():
                _write(place / "dataset", name, content)
        for ref in version.request.get("kernelDataSources", []):
            mounts[mount("notebook", ref, LAYOUT)] = place / "notebook"
            for name, content in (self.server.kernels[ref][-1].outputs or {}).items():
                _write(place / "notebook", name, content)
        for slug in version.request.get("competitionDataSources", []):
            top = mount("competition", slug, LAYOUT)
            mounts |= {f"{top}/{name}": path for name, path in self.competitions[slug].items()}
        for name in version.request.get("modelDataSources", []):
            mounts[mount("model", name, LAYOUT)] = place / "model"
            (place / "model").mkdir(exist_ok=True)
        return mounts


def _write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
