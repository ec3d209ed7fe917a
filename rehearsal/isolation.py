"""Runs a command as Kaggle would: its paths, read-only input, and no network.

On Linux the command gets a user, mount and network namespace of its own, which an ordinary user may create: a new root
on a temporary file system, where everything of the machine is mounted again and `/kaggle` is added. The network
namespace has no interface but a loopback that is down, so not even this machine can be reached. Elsewhere, and on hosts
that forbid it, `find_isolation` says why, and `guard` does what can be done: Python's sockets refuse to connect.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--net")

GUARD = '''"""Refuses every connection of this Python: the rehearsal's stand-in for a cut network."""
import socket


def _refuse(*arguments, **options):
    raise OSError(101, "the rehearsal has cut the network")


for _name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, _name, _refuse)
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = _refuse
'''


@dataclass(frozen=True)
class Sandbox:
    """What the command shall see: path inside -> file or folder outside; and folders that shall be empty inside."""

    read_only: dict[str, Path]
    writable: dict[str, Path]
    hidden: list[Path] = field(default_factory=list)


def find_isolation() -> str | None:
    """Return None where namespaces can be had, else why not."""
    if not sys.platform.startswith("linux"):
        return f"namespaces need Linux, this is {sys.platform}"
    if shutil.which("unshare") is None:
        return "the command 'unshare' is not installed"
    done = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True)
    if done.returncode:
        return f"this host forbids namespaces ({done.stderr.strip() or 'unshare failed'})"
    return None


@contextmanager
def isolated(command: list[str], sandbox: Sandbox) -> Iterator[list[str]]:
    """Yield the command line that runs `command` in a namespace with the sandbox's paths and no network."""
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as stage:
        script = _stage_script(Path(stage), sandbox)
        inside = shlex.join(command)
        working = shlex.quote(next(iter(sandbox.writable)))
        # exec, so that a signal to the process reaches the command.
        run = f"exec chroot {shlex.quote(stage)} /bin/sh -c {shlex.quote(f'cd {working} && exec {inside}')}"
        yield [*UNSHARE, "/bin/sh", "-ec", f"{script}\n{run}"]


def _stage_script(stage: Path, sandbox: Sandbox) -> str:
    """Return the shell commands that build the new root."""
    commands = [["mount", "-t", "tmpfs", "tmpfs", str(stage)]]
    for entry in sorted(Path("/").iterdir()):
        target = f"{stage}{entry}"
        if entry.name == "kaggle":
            continue
        if entry.is_symlink():
            commands.append(["ln", "-s", str(entry.readlink()), target])
        elif entry.is_dir():
            commands.append(["mkdir", target])
            commands.append(["mount", "--rbind", str(entry), target])
    # A file system of its own, so that nothing can be added beside the mounts either.
    kaggle_input = f"{stage}/kaggle/input"
    commands.append(["mkdir", "-p", kaggle_input])
    commands.append(["mount", "-t", "tmpfs", "tmpfs", kaggle_input])
    for inside, outside in (*sandbox.read_only.items(), *sandbox.writable.items()):
        target = f"{stage}{inside}"
        if outside.is_dir():
            commands.append(["mkdir", "-p", target])
        else:
            commands.append(["mkdir", "-p", str(Path(target).parent)])
            commands.append(["touch", target])
        commands.append(["mount", "--bind", str(outside.resolve()), target])
        if inside in sandbox.read_only:
            # A mount's own restrictions are locked in a namespace, and must be repeated.
            flags = ",".join(["remount", "bind", "ro", *_locked_flags(outside)])
            commands.append(["mount", "-o", flags, target])
    commands.append(["mount", "-o", "remount,bind,ro", kaggle_input])
    for folder in sandbox.hidden:
        commands.append(["mount", "-t", "tmpfs", "tmpfs", f"{stage}{folder.resolve()}"])
    return "\n".join(map(shlex.join, commands))


def _locked_flags(path: Path) -> list[str]:
    flags = os.statvfs(path).f_flag
    names = (("nosuid", os.ST_NOSUID), ("nodev", os.ST_NODEV), ("noexec", os.ST_NOEXEC), ("noatime", os.ST_NOATIME))
    return [name for name, bit in names if flags & bit]


@contextmanager
def guarded(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Yield an environment in which Python's sockets refuse to connect."""
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        Path(folder, "sitecustomize.py").write_text(GUARD)
        yield {**environment, "PYTHONPATH": folder}
