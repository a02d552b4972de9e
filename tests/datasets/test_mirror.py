import gzip
import threading
import time

import pytest

from evoprune.datasets.providers import Mirror, ProviderError, download


def fetch(url: str, tiny, events: list) -> dict[str, bytes]:
    return {file.name: raw for file, raw in Mirror(url).fetch(tiny.dataset.files, events.append)}


def test_fetch_downloads_and_unpacks_with_progress_when_the_mirror_has_the_files(tiny, web):
    folder, url = web
    for name, contents in tiny.contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(contents))
    events: list = []
    assert fetch(url, tiny, events) == tiny.contents
    last = [event for event in events if event.name == tiny.images.name][-1]
    assert last.done_bytes == last.total_bytes == (folder / f"{tiny.images.name}.gz").stat().st_size


def test_fetch_gives_the_status_when_the_mirror_lacks_the_file(tiny, web):
    with pytest.raises(ProviderError, match=r"answers 404 for train-images-idx3-ubyte\.gz"):
        fetch(web[1], tiny, [])


def test_fetch_fails_when_a_portal_answers_with_a_page(tiny, web):
    folder, url = web
    (folder / f"{tiny.images.name}.gz").write_bytes(b"<html>please log in</html>")
    with pytest.raises(ProviderError, match="not a sound gzip file"):
        fetch(url, tiny, [])


def test_fetch_stops_when_the_file_is_far_too_long(tiny, web):
    folder, url = web
    (folder / f"{tiny.images.name}.gz").write_bytes(bytes(4_000_000))
    with pytest.raises(ProviderError, match="does not end where it should"):
        fetch(url, tiny, [])


def test_fetch_stops_when_the_download_crawls(tiny, web, monkeypatch):
    folder, url = web
    (folder / f"{tiny.images.name}.gz").write_bytes(bytes(10))
    monkeypatch.setattr(download, "GRACE_S", -1.0)
    monkeypatch.setattr(download, "MIN_BYTES_PER_S", 10**12)
    with pytest.raises(ProviderError, match="too slow"):
        fetch(url, tiny, [])


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://no-such-host.invalid/"])
def test_fetch_fails_in_seconds_when_nothing_answers(tiny, monkeypatch, url: str):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    started = time.monotonic()
    with pytest.raises(ProviderError, match="can't be reached"):
        fetch(url, tiny, [])
    assert time.monotonic() - started < download.CONNECT_S + download.READ_S


def test_fetch_fails_in_seconds_when_name_look_ups_hang(tiny, monkeypatch):
    hang = threading.Event()
    monkeypatch.setattr(download, "CONNECT_S", 0.1)
    monkeypatch.setattr(download.socket, "getaddrinfo", lambda *args: hang.wait(5))
    monkeypatch.setattr(download.urllib.request, "getproxies", dict)
    with pytest.raises(ProviderError, match="does not resolve"):
        fetch("http://mirror.example/", tiny, [])
    hang.set()


def test_fetch_gives_up_when_the_mirror_accepts_and_stays_silent(tiny, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "READ_S", 0.2)
    with (
        download.socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ProviderError, match="no answer within"),
    ):
        fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/", tiny, [])
