"""Who may import whom: the rooms' order, read from the code, and a light kernel.scalogram, seen in a fresh process."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ROOMS = ("kernel", "cache", "simulator", "eda", "training", "dataset_builder", "rehearsal", "publisher", "benchmarks")
MAY_IMPORT = {
    "kernel": (),
    "cache": ("kernel",),
    "simulator": ("kernel", "eda"),
    "eda": ("kernel",),
    "training": ("kernel", "cache", "simulator"),
    "dataset_builder": ("kernel",),
    "rehearsal": ("kernel", "simulator", "training", "dataset_builder"),
    "publisher": ("kernel", "training", "dataset_builder", "rehearsal"),
    "benchmarks": ROOMS,
}
NETWORKS = ("kernel/networks.py", "kernel/picture_networks.py", "kernel/raw_network.py", "kernel/efficientnet.py")
ONLY_IN = {
    "keras": ("kernel/model.py", *NETWORKS, "training/", "benchmarks/"),
    "keras_cv": ("kernel/efficientnet.py", "benchmarks/"),
    "tensorflow": ("training/", "benchmarks/"),
    "kaggle": ("publisher/service/official.py",),
    "kagglesdk": ("publisher/service/official.py",),
    "pickle": (),
}


def imported(path) -> set[str]:
    """The top-level names of all modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the room's name"
            names.add(str(node.module).split(".")[0])
    return names


FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_in_one_direction(path):
    room = path.relative_to(ROOT).parts[0]
    wrong = sorted(name for name in imported(path) if name in ROOMS and name != room and name not in MAY_IMPORT[room])
    assert not wrong, (
        f"{path.relative_to(ROOT)} imports {', '.join(wrong)}, {room} may import only {MAY_IMPORT[room]}: "
        "move what both need into kernel, or pass it in from build.py"
    )


def test_the_service_knows_nothing_of_what_is_published():
    for path in sorted((ROOT / "publisher" / "service").glob("*.py")):
        wrong = [
            node.module
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom)
            and str(node.module).startswith("publisher.")
            and not str(node.module).startswith("publisher.service.")
        ]
        assert not wrong, f"{path.name} imports {', '.join(map(str, wrong))}: hand over what it needs"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_packages_are_imported_in_their_place_only(path):
    name = path.relative_to(ROOT).as_posix()
    for package, places in ONLY_IN.items():
        assert package not in imported(path) or name.startswith(places), (
            f"{name} imports {package}, which belongs into {', '.join(places) or 'no file'}: call a function there"
        )


@pytest.mark.parametrize("module", ["kernel.scalogram", "kernel.inputs", "kernel.recording"])
def test_a_light_module_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    heavy = {"tensorflow", "keras", "keras_cv", "pandas", "matplotlib", "kaggle"} & set(done.stdout.split())
    assert not heavy, f"{module} loads {', '.join(heavy)}: import it where it is used"


@pytest.mark.parametrize("room", ["kernel", "training", "eda"])
def test_the_pushed_file_needs_the_standard_library_only(room):
    tree = ast.parse((ROOT / room / "main.py").read_text())
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in top if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)
