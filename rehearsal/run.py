"""Runs one pushed file as Kaggle would, whatever the job: its mounts, read-only input, `/kaggle/working`, no network.

Every pushed file keeps to the same manners: it takes `--input` and `--working` (by default Kaggle's own folders),
starts its log with `HMS-START {json}` and ends it with `HMS-END {json}`. A run without the end marker has failed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kernel.files import naming_full_disk
from kernel.main import END
from rehearsal.isolation import find_isolation, guard, isolate
from rehearsal.job import ROOT

INPUT, WORKING, SCRIPT = "/kaggle/input", "/kaggle/working", "/kaggle/src/script.py"

MOUNTS = {
    "dataset": ("{1}", "datasets/{0}/{1}"),
    "competition": ("{0}", "competitions/{0}"),
    "notebook": ("{1}", "notebooks/{0}/{1}"),
    "model": ("{1}/{2}/{3}/{4}", "models/{0}/{1}/{2}/{3}/{4}"),
}
"""Where Kaggle mounts each kind of source below `/kaggle/input`, by the parts of its name (`owner/slug`, the slug of a
competition, `owner/model/framework/variation/version`): the older, flat layout and the nested one. Both are seen."""
LAYOUTS = ("flat", "nested")
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "KAGGLE_IS_COMPETITION_RERUN": "1",
    "KAGGLE_KERNEL_RUN_TYPE": "Batch",
}
"""All that a run sees of the environment beside PATH and an empty HOME: above all no credential."""


def mount(kind: str, ref: str, layout: str) -> str:
    """Return the path at which Kaggle mounts a source, `dataset`, `competition`, `notebook` or `model`."""
    return f"{INPUT}/{MOUNTS[kind][LAYOUTS.index(layout)].format(*ref.split('/'))}"


class Findings(NamedTuple):
    """What a rehearsal found: lines for people, data for scripts."""

    lines: list[str]
    data: dict[str, Any]


class KernelRun(NamedTuple):
    """A run that reached its end marker: how the network was cut, the marker's JSON, seconds of the whole process."""

    network: str
    report: dict[str, Any]
    seconds: float


def run_kernel(
    code_file: Path,
    mounts: dict[str, Path],
    working: Path,
    *,
    arguments: Sequence[str] = (),
    isolation: str = "auto",
    log: Callable[[str], None] = print,
) -> KernelRun:
    """Run a pushed file to its end marker.

    `mounts` are paths below `/kaggle/input`, as `mount` gives them -> the file or folder that is seen there, read-only;
    `working` becomes `/kaggle/working`, with the log in `kernel.log`; `arguments` are what the file is called with,
    which Kaggle never does; `isolation` is `namespace`, `guard`, or `auto`, the first where it can be had; `log` takes
    each line as the kernel prints it. An error of the kernel names files by their paths here, not by those in the run.
    """
    for path in (code_file, *mounts.values()):
        if not path.exists():
            raise FileNotFoundError(f"{path}: not found; the rehearsal needs it")
    if working.exists() and not working.is_dir():
        raise ValueError(f"{working} is a file: the rehearsal writes into a folder, name another with --out (OUT=)")
    why_not = find_isolation() if isolation != "guard" else "asked for the guard"
    if why_not and isolation == "namespace":
        raise ValueError(f"the network cannot be cut by a namespace: {why_not}; use --isolation guard")
    working.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as top:
        home, stage, src = (Path(top, part) for part in ("home", "stage", "src"))
        for folder in (home, stage, src):
            folder.mkdir()
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), **ENVIRONMENT}
        if why_not is None:
            network = "cut: a network namespace without interfaces"
            read_only = {name: path.resolve() for name, path in (*mounts.items(), (SCRIPT, code_file))}
            # The checkout's own code and weights are hidden: what runs must come from what is mounted.
            inside = {parent for path in read_only.values() for parent in path.parents}
            hidden = [path for path in (ROOT / "kernel", ROOT / "weights") if path.is_dir() and path not in inside]
            command = [sys.executable, SCRIPT, *arguments]
            command = isolate(command, stage, read_only, (WORKING, working.resolve()), hidden)
            seen = {**mounts, WORKING: working, SCRIPT: code_file}
        else:
            network = f"guarded: Python's sockets refuse, the rest of the machine is open ({why_not})"
            seen = {top + path.removeprefix("/kaggle"): outside for path, outside in mounts.items()}
            for link, path in seen.items():
                Path(link).parent.mkdir(parents=True, exist_ok=True)
                Path(link).symlink_to(path.resolve())
            script = shutil.copyfile(code_file, src / "script.py")
            paths = ["--input", f"{top}/input", "--working", str(working.resolve())]
            command = [sys.executable, str(script), *arguments, *paths]
            environment |= guard(src)
        log(f"network {network}")
        started = time.monotonic()
        report = _follow(command, environment, working / "kernel.log", log, seen)
        return KernelRun(network, report, time.monotonic() - started)


def _follow(
    command: list[str], environment: dict[str, str], log_file: Path, log: Callable[[str], None], seen: dict[str, Path]
) -> dict[str, Any]:
    """Run the kernel, passing its lines on; return its end marker."""
    end: dict[str, Any] | None = None
    last, errors = "", []
    with (
        naming_full_disk(log_file),
        log_file.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                file.write(line)
                last = line.strip() or last
                if line.startswith("error: "):
                    errors.append(line)  # said once, at the end
                    continue
                log("  " + line.rstrip())
                if line.startswith(f"{END} "):
                    end = json.loads(line.removeprefix(f"{END} "))
        except BaseException:
            process.terminate()
            raise
    if process.returncode == 0 and end is not None:
        for line in errors:
            log("  " + line.rstrip())
        return end
    for name in sorted(seen, key=len, reverse=True):
        last = last.replace(name, str(seen[name]))
    if last.startswith("error: "):
        raise ValueError(f"{last.removeprefix('error: ')} (said by the kernel, whose log is {log_file})")
    raise ValueError(f"the kernel failed with status {process.returncode}: {last}; its log is {log_file}")
