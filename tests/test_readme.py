"""The README cannot rot: its commands exist, its map is the tree, its sample output has the fields of today's."""

import json
import re
import shlex
import subprocess

import pytest

import build
from rehearsal.inference import describe
from rehearsal.run import KernelRun
from tests.conftest import ROOT
from tests.test_make import make

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("#")[0].strip() for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()
]
MAP = dict(re.findall(r"^\| `([\w./-]+)` \| (.+) \|$", README.split("## The map")[1], re.M))


def test_there_are_commands_and_a_map():
    assert COMMANDS[:2] == ["make rehearse", "make test"]
    assert len(COMMANDS) > 8
    assert len(MAP) > 8


@pytest.mark.parametrize("command", COMMANDS)
def test_every_make_command_is_a_target_that_takes_its_variables(command):
    words = shlex.split(command)
    assert words[0] == "make"
    done = make("--dry-run", *words[1:])
    assert done.returncode == 0, done.stderr


def test_the_map_is_the_tree():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    top = {path.split("/")[0] + ("/" if "/" in path else "") for path in tracked.stdout.splitlines()}
    not_in_map = {"README.md", ".gitignore", ".ci/", "pyproject.toml"}
    not_in_map |= {"requirements.txt", "requirements-dev.txt", "requirements-cluster.txt"}
    assert top - not_in_map == set(MAP)


def test_the_sample_output_has_todays_fields():
    sample = json.loads(next(line for line in README.splitlines() if line.startswith('{"rows"')))
    report = dict.fromkeys(("rows", "fallbacks", "partial", "reduced", "ms_per_recording", "peak_rss_mb"), 0)
    scores = {"kl": 0.0, "kl_uniform": 0.0, "kl_prior": 0.0}
    assert set(sample) == set(describe(KernelRun("cut", report, 0.0), ROOT, scores).data)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_no_command_shows_a_traceback_for_a_users_mistake(capsys):
    assert build.main(["eda", "--data", "/nonexistent"]) == 1
    assert capsys.readouterr().err.startswith("error: /nonexistent: no such folder; expected")
