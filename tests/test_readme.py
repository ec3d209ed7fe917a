"""The README cannot rot: its commands exist, its map is the tree, its sample output has the fields of today's."""

import json
import re
import subprocess
import sys

import pytest

from rehearsal.rehearse import Rehearsal
from tests.conftest import ROOT

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
    words = command.split()
    assert words[0] == "make"
    target, variables = words[1], [word.split("=")[0] for word in words[2:]]
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.M)
    assert recipe, f"the README says `{command}`, the Makefile has no target {target}"
    texts = recipe.group(0) + "".join(re.findall(r"^KAGGLE.*$", makefile, re.M))
    for variable in variables:
        assert f"$({variable})" in texts, f"{target} does not take {variable}"
    done = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_target_calls_a_command_that_exists():
    listed = subprocess.run(
        [sys.executable, "build.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    called = set(re.findall(r"\$\(BUILD\) (\w+)", (ROOT / "Makefile").read_text()))
    available = set(re.findall(r"^    (\w+) ", listed.stdout, re.M))
    assert called == available


@pytest.mark.parametrize("command", ["rehearse", "bundle", "simulate", "train", "evaluate", "cache", "eda", "show"])
def test_every_command_has_help(command):
    arguments = [sys.executable, "build.py", command, "--help"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: build.py {command}")


def test_the_map_is_the_tree():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    top = {path.split("/")[0] + ("/" if "/" in path else "") for path in tracked.stdout.splitlines()}
    not_in_map = {"README.md", ".gitignore", ".ci/", "requirements.txt", "requirements-dev.txt", "pyproject.toml"}
    assert top - not_in_map == set(MAP)


def test_the_sample_output_has_todays_fields():
    sample = json.loads(next(line for line in README.splitlines() if line.startswith('{"rows"')))
    report = dict.fromkeys(("rows", "fallbacks", "partial", "reduced", "ms_per_recording", "peak_rss_mb"), 0)
    scores = {"kl": 0.0, "kl_uniform": 0.0, "kl_prior": 0.0}
    assert set(sample) == set(Rehearsal(ROOT, "cut", report, 0.0, scores).to_json())


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_bare_make_lists_every_target():
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.M))
    assert targets == set(re.findall(r"^  make (\w+)", done.stdout, re.M))


def test_no_command_shows_a_traceback_for_a_users_mistake():
    arguments = [sys.executable, "build.py", "rehearse", "--input", "/nonexistent"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: /nonexistent/test.csv: not found")
    assert "Traceback" not in done.stderr
