"""The tour is run: its local commands on a tiny data set, and its examples of how to add things."""

import re
import shlex
from pathlib import Path

import pytest

import build as command_line
from kernel import inputs, networks
from tests.conftest import ROOT
from tests.test_make import make
from training import augmentation

TOUR = (ROOT / "TOUR.md").read_text()
LOCAL, PUBLISHED = (block.splitlines() for block in re.findall(r"```sh\n(.*?)```", TOUR, re.S))
EXAMPLES = re.findall(r"\*\*(an? [\w ]+)\.\*\*[^`]*(?:`[^`]+`[^`]*)*?```python\n(.*?)```", TOUR, re.S)
REGISTRIES = (networks.NETWORKS, inputs.KINDS, inputs.BUILD, augmentation.AUGMENTATIONS)


def translate(line: str) -> list[str]:
    """What `make` would call build.py with."""
    done = make("--dry-run", *shlex.split(line)[1:])
    assert done.returncode == 0, done.stderr
    call = next(text for text in done.stdout.splitlines() if "build.py" in text)
    return shlex.split(call.split("build.py")[1])


def test_the_local_half_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # The report draws two windows of each class, 3 s a window: here of one class.
    monkeypatch.setattr("eda.examples.CLASS_NAMES", ("Seizure",))
    for line in LOCAL:
        assert command_line.main(translate(line)) == 0, line
    assert "answered by the fold that did not see its patient" in capsys.readouterr().out
    assert (tmp_path / "dist" / "tour" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "dist" / "tour" / "raw_1d" / "fold_1.weights.h5").is_file()


@pytest.mark.parametrize("line", PUBLISHED)
def test_the_other_half_names_commands(line):
    command_line.build_parser().parse_args(translate(line))


@pytest.mark.parametrize(("what", "code"), EXAMPLES, ids=[what for what, _ in EXAMPLES])
def test_what_is_added_is_known_everywhere(what, code):
    before = [dict(registry) for registry in REGISTRIES]
    try:
        exec(compile(code, f"TOUR.md: {what}", "exec"), {"__name__": "tour"})
        assert any(len(now) > len(then) for now, then in zip(REGISTRIES, before, strict=True))
        if what == "a network":
            from kernel.model import ModelConfig, build_model
            from kernel.scalogram import ScalogramConfig

            model = build_model(ModelConfig("mean_spectrum", (ScalogramConfig(),)))
            assert model.output_shape == (None, 6)
    finally:
        for now, then in zip(REGISTRIES, before, strict=True):
            now.clear()
            now.update(then)


def test_there_is_an_example_of_each():
    assert [what for what, _ in EXAMPLES] == ["a network", "an input", "an augmentation"]
    assert "second_job" in TOUR


def test_the_files_it_opens_are_there():
    for name in re.findall(r"`([\w/]+/[\w.]+\.py)`", TOUR):
        assert (ROOT / name).is_file() or Path(name).name == "test_tour.py", name
