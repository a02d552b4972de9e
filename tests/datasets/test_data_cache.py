import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import platformdirs
import pytest

from evoprune.caching import cache_directory, remove_old_parts
from evoprune.datasets.cache import DataCache
from evoprune.errors import DataError


def test_cache_directory_is_the_users_unless_the_environment_names_another(monkeypatch, tmp_path: Path):
    monkeypatch.delenv("EVOPRUNE_CACHE", raising=False)
    assert cache_directory() == platformdirs.user_cache_path("evoprune")
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path


def test_store_leaves_the_whole_file_and_nothing_else_when_many_write_at_once(tiny):
    raw = tiny.contents[tiny.images.name]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: tiny.cache.store(tiny.images, raw), range(16)))
    assert [path.name for path in tiny.cache.folder.iterdir()] == [tiny.images.name]
    assert tiny.cache.read(tiny.images).tobytes() == raw[16:]


def test_store_keeps_an_open_mapping_sound_when_the_file_is_replaced(tiny):
    raw = tiny.contents[tiny.images.name]
    tiny.cache.store(tiny.images, raw)
    mapped = tiny.cache.read(tiny.images)
    tiny.cache.store(tiny.images, b"damaged")
    assert mapped.tobytes() == raw[16:]
    assert tiny.cache.read(tiny.images) is None


def test_check_writable_says_what_to_set_when_the_cache_can_not_be_made(tmp_path: Path):
    (tmp_path / "blocked").touch()
    with pytest.raises(DataError, match="can't be written") as caught:
        DataCache(tmp_path / "blocked" / "mnist").check_writable()
    assert "EVOPRUNE_CACHE" in caught.value.hint


def test_remove_old_parts_leaves_what_others_may_be_writing(tmp_path: Path):
    for name, age_h in (
        (".data.a1b2.part", 25),
        (".data.c3d4.part", 23),
        ("data", 99),
        ("data.part", 99),
        (".part", 0),
    ):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, times=(time.time() - 3600 * age_h,) * 2)
    remove_old_parts(tmp_path)
    remove_old_parts(tmp_path / "missing")
    assert {path.name for path in tmp_path.iterdir()} == {".data.c3d4.part", "data", "data.part", ".part"}


def test_read_removes_what_a_process_left_that_was_killed_long_ago(tiny, monkeypatch):
    tiny.cache.store(tiny.images, tiny.contents[tiny.images.name])
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(SystemExit))
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with pytest.raises(SystemExit):
        tiny.cache.store(tiny.images, b"half of a file")
    monkeypatch.undo()
    (part,) = tiny.cache.folder.glob(".*")
    assert tiny.cache.read(tiny.images) is not None
    assert part.exists()
    os.utime(part, times=(0, 0))
    tiny.cache.read(tiny.images)
    assert [path.name for path in tiny.cache.folder.iterdir()] == [tiny.images.name]
