from dataclasses import replace

import pytest

from evoprune.datasets.cache import DataCache
from evoprune.datasets.fetch import fetch_missing
from evoprune.errors import DataError
from evoprune.events import DataProgress


def test_fetch_missing_fills_the_cache_and_reports_when_it_is_empty(tiny):
    events = []
    fetch_missing(tiny.dataset, tiny.cache, events.append)
    assert all(tiny.cache.read(file) is not None for file in tiny.dataset.files)
    assert [event.name for event in events if isinstance(event, DataProgress)] == list(tiny.contents)


def test_fetch_missing_asks_nobody_when_the_cache_is_full(tiny):
    fetch_missing(tiny.dataset, tiny.cache, lambda event: None)
    provider = tiny.dataset.providers[0]
    provider.asked.clear()
    fetch_missing(tiny.dataset, tiny.cache, lambda event: None)
    assert provider.asked == []


def test_fetch_missing_replaces_a_file_when_the_cached_one_is_damaged(tiny):
    fetch_missing(tiny.dataset, tiny.cache, lambda event: None)
    (tiny.cache.folder / tiny.images.name).write_bytes(b"damaged")
    provider = tiny.dataset.providers[0]
    provider.asked.clear()
    fetch_missing(tiny.dataset, tiny.cache, lambda event: None)
    assert provider.asked == [tiny.images.name]
    assert tiny.cache.read(tiny.images) is not None


def test_fetch_missing_asks_the_next_provider_for_the_rest_when_one_gives_up(tiny, tiny_provider):
    names = list(tiny.contents)
    first = tiny_provider({names[0]: tiny.contents[names[0]]})
    second = tiny_provider(tiny.contents)
    fetch_missing(replace(tiny.dataset, providers=(first, second)), tiny.cache, lambda event: None)
    assert first.asked == names[:2]
    assert second.asked == names[1:]


def test_fetch_missing_asks_the_next_provider_when_one_delivers_a_wrong_file(tiny, tiny_provider):
    wrong = tiny_provider({name: contents[:-1] + b"!" for name, contents in tiny.contents.items()})
    right = tiny_provider(tiny.contents)
    fetch_missing(replace(tiny.dataset, providers=(wrong, right)), tiny.cache, lambda event: None)
    assert len(wrong.asked) == 1
    assert tiny.cache.read(tiny.images) is not None


def test_fetch_missing_lists_every_source_with_its_reason_when_none_delivers(tiny, tiny_provider):
    providers = (
        tiny_provider({}, "https://mirror.example/", "can't be reached"),
        tiny_provider({}, "npm pack tiny@1", "npm is not installed"),
        tiny_provider({tiny.images.name: b"<html>"}, "https://portal.example/"),
    )
    with pytest.raises(DataError) as caught:
        fetch_missing(replace(tiny.dataset, providers=providers), tiny.cache, lambda event: None)
    message = caught.value.message
    assert "Tiny can't be had" in message
    assert f"cache {tiny.cache.folder}: 4 of 4 files missing" in message
    assert "https://mirror.example/: can't be reached; npm pack tiny@1: npm is not installed" in message
    assert "https://portal.example/: delivers a wrong file" in message
    assert "data.dir" in caught.value.hint


def test_fetch_missing_downloads_nothing_when_the_cache_can_not_be_written(tiny, tmp_path):
    (tmp_path / "blocked").touch()
    with pytest.raises(DataError, match="can't be written"):
        fetch_missing(tiny.dataset, DataCache(tmp_path / "blocked"), lambda event: None)
    assert tiny.dataset.providers[0].asked == []
