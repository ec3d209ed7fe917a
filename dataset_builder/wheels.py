"""The wheels that travel in the bundle: fetched once, checked by hash, then taken from disk.

`wheels.txt` names them in pip's format; as shipped it names none. They must be pure Python, so that one file fits every
version of Kaggle's Python. They are not installed here: on Kaggle, `kernel/main.py` puts a wheel on the path if its
module cannot be imported.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

from dataset_builder.metadata import hash_file

REQUIREMENTS = Path(__file__).with_name("wheels.txt")
PIN = re.compile(r"([\w.-]+)==([\w.]+) --hash=sha256:([0-9a-f]{64})")


class Wheel(NamedTuple):
    """One line of `wheels.txt`: the name by which the wheel is imported, the name and the hash of its file."""

    module: str
    filename: str
    sha256: str


def read_requirements(path: Path = REQUIREMENTS) -> list[Wheel]:
    """Read the pinned wheels; a ValueError names a line that is not `name==version --hash=sha256:...`."""
    wheels = []
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            match = PIN.fullmatch(line.strip())
            if match is None:
                raise ValueError(f"{path}: {line!r} is not 'name==version --hash=sha256:<64 hex digits>'")
            name, version, sha256 = match.groups()
            module = name.replace("-", "_")
            wheels.append(Wheel(module, f"{module}-{version}-py3-none-any.whl", sha256))
    return wheels


def fetch_wheels(folder: Path, requirements: Path = REQUIREMENTS) -> list[tuple[Wheel, Path]]:
    """Return the pinned wheels and their files in `folder`, where pip fetches those that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    wheels = [(wheel, folder / wheel.filename) for wheel in read_requirements(requirements)]
    if not all(path.is_file() for _, path in wheels):
        arguments = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        where = ["--require-hashes", "--dest", str(folder), "--requirement", str(requirements)]
        done = subprocess.run([sys.executable, "-m", "pip", *arguments, *where], capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
            names = ", ".join(path.name for _, path in wheels)
            raise ValueError(f"{requirements}: cannot fetch {names} ({reason}); connect, or put them into {folder}")
    for wheel, path in wheels:
        if not path.is_file():
            raise ValueError(f"{path}: not fetched; {wheel.module} has no pure-Python wheel of this version")
        if hash_file(path) != wheel.sha256:
            raise ValueError(f"{path}: its sha256 is not the one in {requirements}; delete it and run again")
    return wheels


def hash_record(wheel: Path) -> str:
    """Return the sha256 of a wheel's RECORD, by which an unpacked copy of it can be verified file by file."""
    with zipfile.ZipFile(wheel) as archive:
        (record,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        return hashlib.sha256(archive.read(record)).hexdigest()
