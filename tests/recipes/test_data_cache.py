from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import platformdirs
import pytest

from evoprune.caching import cache_directory
from evoprune.errors import DataError
from evoprune.recipes.cache import DataCache


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
