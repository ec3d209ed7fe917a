"""What the tests of `publisher` share: a desk with a stand-in for Kaggle, a tiny checkout, and the command line."""

from __future__ import annotations

import base64
import io
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rehearsal.job import JOBS
from tests import tiny_job
from tests.kaggle_server import KEY, REFRESH, TOKEN, USER, Kaggle
from tests.tiny_job import write_checkout

FORKS = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
if os.name == "posix":
    FORKS.set_forkserver_preload(
        [
            *("build", "rehearsal.inference", "dataset_builder.bundle", "rehearsal.memory", "tests.tiny_job"),
            *("publisher.submit", "publisher.push", "publisher.output", "publisher.screen"),
        ]
    )
DATASET, KERNEL = f"{USER}/hms-scalogram-bundle", f"{USER}/hms-scalogram-inference"
REHEARSED: dict[Path, str] = {}
"""What any desk remembers of rehearsals that passed: the same code with the same data is rehearsed once for all."""
SECRETS = (KEY, TOKEN, REFRESH, base64.b64encode(f"{USER}:{KEY}".encode()).decode())


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


class Desk:
    """One user's folder, home and server. Every run is looked through for credentials."""

    def __init__(self, folder: Path, server: Kaggle, *, new: bool = True) -> None:
        self.folder, self.server = folder, server
        self.home, self.dist, self.source = folder / "home", folder / "dist", folder / "source"
        self.environment: dict[str, str] = {"VERBOSE": "1", "VERBOSE_OUTPUT": "1"}
        if new:
            write_checkout(self.source)
            self.change_weights("first")
            for name, content in REHEARSED.items():
                (self.dist / name).parent.mkdir(parents=True, exist_ok=True)
                (self.dist / name).write_text(content)

    def forget_rehearsals(self) -> None:
        """Let the next push rehearse."""
        for path in self.dist.rglob("rehearsed.json"):
            path.unlink()

    def change_weights(self, name: str) -> None:
        """Give the bundle another content."""
        (self.source / "weights" / "b2" / "fold_0.weights.h5").write_bytes(name.encode() * 20_000)

    def command(self, *argv: str) -> list[str]:
        """Return a whole command line: small waiting times, which later ones override, and what to rehearse on."""
        extra = ["--input", str(self.source / "hidden")] if argv[0] == "push" else []
        pace = [] if argv[0] == "rehearse" else ["--interval", "0.02", "--timeout", "10", "--patience", "60"]
        return [argv[0], "--dist", str(self.dist), *pace, *extra, *argv[1:]]

    def whole_environment(self) -> dict[str, str]:
        environment = self.server.environment(self.home) | self.environment
        return {name: value for name, value in environment.items() if value != "-unset-"}

    def spawn(self, *argv: str, terminal: str = "") -> tuple[Any, Path, Path]:
        """Start a command in a process that has its imports behind it; return it with its two outputs."""
        out, err = (Path(terminal or self.folder / name) for name in ("stdout.txt", "stderr.txt"))
        arguments = (self.source, self.command(*argv), self.whole_environment(), str(self.folder), str(out), str(err))
        process = FORKS.Process(target=tiny_job.serve, args=arguments)
        process.start()
        return process, out, err

    def interrupt(self, process: Any, err: Path) -> str:
        """Press Ctrl-C; return what the command says then."""
        os.kill(process.pid, signal.SIGINT)
        process.join(120)
        assert process.exitcode == 130
        assert "Traceback" not in err.read_text()
        return err.read_text()

    def run(self, *argv: str) -> Result:
        """Run a command in this process, with the user's environment, as if it were alone in it."""
        out, err, status = io.StringIO(), io.StringIO(), Future[int]()

        def work() -> None:
            try:
                status.set_result(tiny_job.main(self.source, self.command(*argv)))
            except BaseException as error:
                status.set_exception(error)

        with (
            patch.dict(os.environ, self.whole_environment(), clear=True),
            patch.dict(JOBS),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            threading.Thread(target=work, daemon=True).start()
            try:
                result = Result(status.result(180), out.getvalue(), err.getvalue())
            except FutureTimeout:
                raise TimeoutError(f"{argv} does not end: {out.getvalue()}{err.getvalue()}") from None
        for path in self.dist.rglob("rehearsed.json"):
            REHEARSED.setdefault(path.relative_to(self.dist), path.read_text())
        self.look_for_secrets(result)
        assert not self.server.unknown, "the official client knows no such fields"
        return result

    def run_killed(self, number: int, before: bool, *argv: str) -> int:
        """Run a command that is killed at its n-th request; return the exit status."""
        pid: Future[int] = Future()
        self.server.victim, self.server.kill_at = pid.result, (number + len(self.server.calls), before)
        process, *_ = self.spawn(*argv)
        pid.set_result(process.pid)
        process.join(180)
        self.server.victim = None
        return process.exitcode

    def json(self, *argv: str) -> tuple[int, dict[str, Any]]:
        result = self.run(*argv, "--json")
        return result.status, json.loads(result.out)

    def record(self) -> dict[str, Any]:
        path = self.dist / "published.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def look_for_secrets(self, result: Result) -> None:
        """No credential may be in any output or file."""
        names = ("kaggle.json", "access_token", "credentials.json")
        given = {self.home / folder / name for folder in (".kaggle", "elsewhere") for name in names}
        for secret in SECRETS:
            assert secret not in result.text, "a credential was printed"
            for folder, _, names in os.walk(self.folder):
                for name in names:
                    path = Path(folder, name)
                    if path not in given:
                        assert secret.encode() not in path.read_bytes(), f"a credential is in {path}"


class Prepared:
    """A user's folder and a server as some commands left them, from which any number of tests go on."""

    def __init__(self, folder: Path, prepare: Callable[[Desk], object]) -> None:
        self.folder, self.server = folder, Kaggle()
        self.server.close()
        with open_desk(folder) as desk:
            prepare(desk)
            self.server.take_over(desk.server)


@contextmanager
def open_desk(folder: Path, prepared: Prepared | None = None) -> Iterator[Desk]:
    """Yield a desk with a server of its own, new or as it was prepared."""
    server = Kaggle()
    if prepared:
        shutil.copytree(prepared.folder, folder, dirs_exist_ok=True)
        server.take_over(prepared.server)
    try:
        yield Desk(folder, server, new=prepared is None)
    finally:
        server.close()
