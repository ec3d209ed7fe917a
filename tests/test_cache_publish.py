"""The cache published as a data set of their own, by the real client over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cache.cache import Cache
from tests.kaggle_server import USER
from tests.publishing import DATASET, Desk, open_desk
from tests.test_cache import read_all, write_cache

CACHE = f"{USER}/hms-scalogram-cache"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path) as desk:
        yield desk


def test_push_with_cache_publishes_two_data_sets(desk: Desk) -> None:
    root = desk.folder / "cache"
    values = write_cache(root)
    result = desk.run("push", "--with-cache", str(root))
    assert result.status == 0, result.text
    assert f"data set {CACHE} version 1: created" in result.text
    published = desk.server.datasets[CACHE]
    assert published.private
    assert DATASET in desk.server.datasets
    served = published.versions[0].files
    mount = desk.folder / "mount"
    for name, content in served.items():
        mount.mkdir(exist_ok=True)
        (mount / name).write_bytes(content)
    read = read_all(Cache(mount))
    assert abs(read - values).max() < 0.02

    again = desk.run("push", "--with-cache", str(root))
    assert again.status == 0, again.text
    assert f"data set {CACHE} version 1: unchanged" in again.text
    assert len(published.versions) == 1
    assert not (desk.dist / "cache" / "upload").exists()


def test_a_cache_that_is_not_there_is_named(desk: Desk) -> None:
    result = desk.run("push", "--with-cache", str(desk.folder / "nowhere"))
    assert result.status == 1
    assert "nowhere/config.json: no such file; `python build.py cache" in result.text
