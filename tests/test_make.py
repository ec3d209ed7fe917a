"""The front doors: every target of the Makefile calls a command as build.py takes it, and no variable is swallowed."""

import argparse
import os
import re
import shlex
import subprocess
from functools import cache

import pytest

import build
from tests.conftest import ROOT

HELP = dict(re.findall(r"^([a-z-]+):.*## *(.+)$", (ROOT / "Makefile").read_text(), re.M))
VARIABLES = [(target, variable) for target, text in HELP.items() for variable in re.findall(r"\b([A-Z_]+)=", text)]
NEEDED = {
    "show": {"EEG_ID": "1", "DATA": "dir"},
    **{target: {"DATA": "dir"} for target in ("eda", "cache", "train", "evaluate")},
}
COMMANDS = next(
    action for action in build.build_parser()._actions if isinstance(action, argparse._SubParsersAction)
).choices


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # A Python that is named is not looked for. The make that runs these tests hands its own variables on.
    clean = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS")}
    command = ["make", "PYTHON=python3", *arguments]
    return subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True)


@cache
def called(target: str, **variables: str) -> list[list[str]]:
    """The command lines of build.py and pytest that a target runs."""
    given = [f"{name}={value}" for name, value in {**NEEDED.get(target, {}), **variables}.items()]
    done = make("--dry-run", target, *given)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines() if "build.py" in line or "pytest" in line]


def test_bare_make_lists_every_target():
    assert set(HELP) == set(re.findall(r"^  make ([a-z-]+)", make().stdout, re.M))


def test_every_command_has_a_target():
    commands = {line[2] for target in HELP for line in called(target) if "build.py" in line}
    assert commands == COMMANDS.keys()


@pytest.mark.parametrize(("target", "variable"), VARIABLES)
def test_every_variable_that_the_help_names_changes_a_command_that_build_takes(target, variable):
    value = {"SET": "recipe.batch_size=2", "JOB": "training"}.get(variable, "2")
    lines = called(target, **{variable: value})
    assert lines != called(target)
    for line in lines:
        if "build.py" in line:
            build.build_parser().parse_args(line[2:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "DATA=dir", "BACKBON=file"), "make train does not take BACKBON; it takes BACKBONE CACHE DATA"),
        (("bundle", "DATA=dir"), "make bundle does not take DATA; it takes OUT OWNER"),
        (("push", "submit=1"), "make push does not take submit; it takes"),
        (("help", "OUT=file"), "make help does not take OUT; it takes no variable"),
        (("eda",), "give DATA=DIR"),
        (("cache",), "give DATA=DIR"),
        (("show", "DATA=dir"), "give EEG_ID=N"),
    ],
)
def test_a_variable_that_is_not_taken_or_is_missing_is_named(arguments, message):
    done = make("--dry-run", *arguments)
    assert done.returncode != 0
    assert message in done.stderr


def test_values_may_hold_spaces():
    (line,) = called("rehearse", OUT="a folder")
    assert line[-2:] == ["--out", "a folder"]
    (line,) = called("train", SET='recipe.batch_size=2 recipe.stages=[{"name":"all"}]')
    assert line[-4:] == ["--set", "recipe.batch_size=2", "--set", 'recipe.stages=[{"name":"all"}]']


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_names_each_default_once(command, capsys):
    with pytest.raises(SystemExit) as stop:
        build.main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: build.py {command}")
    assert len(text.split("\n\n")) >= 3, "usage, description, options"
    assert "default:" not in text.lower()
    assert not re.search(r"\]\s+\[", text.split("options:")[1]), "a default is named twice"
