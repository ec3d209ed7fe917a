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
from collections.abc import Iterable, Iterator, Mapping
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


def find_isolation() -> str | None:
    """Return None where namespaces can be had, else why not."""
    if not sys.platform.startswith("linux"):
        return f"namespaces need Linux, this is {sys.platform}"
    if shutil.which("unshare") is None:
        return "the command 'unshare' is not installed"
    probe = _in_namespaces("mount -t tmpfs tmpfs /mnt\nchroot / /bin/sh -c :")
    done = subprocess.run(probe, capture_output=True, text=True)
    if done.returncode:
        return f"this host forbids namespaces ({done.stderr.strip() or 'unshare failed'})"
    return None


def _in_namespaces(script: str) -> list[str]:
    """Return the command line of a shell script that is root in new namespaces, and stops at the first error.

    The PATH of an ordinary user often leaves out where an administrator's commands lie.
    """
    return [*UNSHARE, "/bin/sh", "-ec", f"PATH=$PATH:/usr/sbin:/sbin\n{script}"]


def isolate(
    command: list[str], stage: Path, read_only: Mapping[str, Path], working: tuple[str, Path], hidden: Iterable[Path]
) -> list[str]:
    """Return the command line that runs `command` in a namespace, without a network; its root is built in `stage`.

    It sees the files and folders of `read_only` (path inside -> path outside), can write into the folder `working`
    (path inside, path outside), where it starts, and finds the folders `hidden` empty. `stage` is an empty folder.
    """
    mounts = _list_mounts(stage, read_only, working, hidden)
    # exec, so that a signal to the process reaches the command.
    inside = f"cd {shlex.quote(working[0])} && exec {shlex.join(command)}"
    run = f"exec {shlex.join(['chroot', str(stage), '/bin/sh', '-c', inside])}"
    return _in_namespaces("\n".join([*map(shlex.join, mounts), run]))


def _list_mounts(
    stage: Path, read_only: Mapping[str, Path], working: tuple[str, Path], hidden: Iterable[Path]
) -> Iterator[list[str]]:
    """Yield the commands that build the new root."""
    empty = ["mount", "-t", "tmpfs", "tmpfs"]
    yield [*empty, str(stage)]
    for entry in sorted(Path("/").iterdir()):
        target = f"{stage}{entry}"
        if entry.name == "kaggle":
            continue
        if entry.is_symlink():
            yield ["ln", "-s", str(entry.readlink()), target]
        elif entry.is_dir():
            yield ["mkdir", target]
            yield ["mount", "--rbind", str(entry), target]
    # A file system of its own, so that nothing can be added beside the mounts either.
    kaggle_input = f"{stage}/kaggle/input"
    yield ["mkdir", "-p", kaggle_input]
    yield [*empty, kaggle_input]
    for inside, outside in (*read_only.items(), working):
        target = f"{stage}{inside}"
        yield ["mkdir", "-p", target if outside.is_dir() else str(Path(target).parent)]
        if not outside.is_dir():
            yield ["touch", target]
        yield ["mount", "--bind", str(outside.resolve()), target]
        if inside in read_only:
            # A mount's own restrictions are locked in a namespace, and must be repeated.
            yield ["mount", "-o", ",".join(["remount", "bind", "ro", *_locked_flags(outside)]), target]
    yield ["mount", "-o", "remount,bind,ro", kaggle_input]
    for folder in hidden:
        yield [*empty, f"{stage}{folder.resolve()}"]


def _locked_flags(path: Path) -> list[str]:
    flags = os.statvfs(path).f_flag
    names = (("nosuid", os.ST_NOSUID), ("nodev", os.ST_NODEV), ("noexec", os.ST_NOEXEC), ("noatime", os.ST_NOATIME))
    return [name for name, bit in names if flags & bit]


def guard(folder: Path) -> dict[str, str]:
    """Write into an empty folder what makes Python refuse to connect; return the environment that it takes."""
    (folder / "sitecustomize.py").write_text(GUARD)
    return {"PYTHONPATH": str(folder)}
