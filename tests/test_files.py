"""A file is written whole or not at all, and a full disk is one line with the path, whichever library writes."""

import resource

import h5py
import matplotlib.figure
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kernel.files import replacing, replacing_folder

NOISE = np.random.default_rng(0).integers(0, 256, 1_000_000, dtype=np.uint8)


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file["noise"] = NOISE


def write_picture(path):
    figure = matplotlib.figure.Figure()
    figure.subplots().imshow(NOISE.reshape(1000, 1000))
    figure.savefig(path, format="png", dpi=500)


WRITERS = {
    "text": lambda path: path.write_text("x" * 1_000_000),
    "npy": lambda path: np.save(path.open("wb"), NOISE),
    "csv": lambda path: pd.DataFrame({"noise": NOISE}).to_csv(path),
    "parquet": lambda path: pq.write_table(pa.table({"noise": NOISE}), path),
    "hdf5": write_hdf5,
    "picture": write_picture,
}


@pytest.fixture
def full_disk():
    """Files of this process can hold 100,000 bytes, which fails as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_one_line_with_the_path_and_leaves_what_was_there(tmp_path, full_disk, kind):
    path = tmp_path / "file"
    path.write_text("before")
    full_disk()
    with pytest.raises(OSError, match=f"no space left to write {path}: free some, then run the same command again"):  # noqa: SIM117
        with replacing(path) as part:
            WRITERS[kind](part)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_appears_whole(tmp_path, kind):
    path = tmp_path / "file"
    with replacing(path) as part:
        WRITERS[kind](part)
        assert not path.exists()
    assert path.stat().st_size > 100_000
    assert list(tmp_path.iterdir()) == [path]


def test_any_other_error_passes_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="not sound"), replacing(tmp_path / "file") as part:  # noqa: PT012
        part.write_text("half")
        raise ValueError("not sound")
    with pytest.raises(FileNotFoundError, match="absent"), replacing(tmp_path / "absent" / "file") as part:
        part.write_text("x")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_replaced_whole_and_a_full_disk_leaves_the_old_one(tmp_path, full_disk):
    path = tmp_path / "folder"
    for text in ("first", "second"):
        with replacing_folder(path, "marker") as part:
            (part / "marker").write_text(text)
            (part / text).write_text(text)
        assert sorted(one.name for one in path.iterdir()) == sorted(["marker", text])
    full_disk()
    with pytest.raises(OSError, match=f"no space left to write {path}"), replacing_folder(path, "marker") as part:
        WRITERS["text"](part / "third")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]
    assert (path / "second").read_text() == "second"


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    with replacing_folder(tmp_path / "home", "marker") as part:  # it is empty
        (part / "thesis.txt").write_text("years of work")
    for path in (tmp_path / "home", tmp_path / "home" / "thesis.txt"):
        with pytest.raises(ValueError, match="name another folder"), replacing_folder(path, "marker"):
            pass
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"
