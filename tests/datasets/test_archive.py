import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from evoprune.datasets.providers import Archive, ProviderError
from evoprune.datasets.providers.archive import read_member


def tarball(contents: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, raw in contents.items():
            member = tarfile.TarInfo(f"inside/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return stream.getvalue()


@pytest.fixture
def served(tiny, web) -> Archive:
    """The tiny data set as one tarball on a web server."""
    folder, url = web
    packed = tarball(tiny.contents)
    (folder / "all.tar.gz").write_bytes(packed)
    return Archive(f"{url}all.tar.gz", "inside", len(packed), hashlib.sha256(packed).hexdigest())


def fetch(archive: Archive, tiny) -> dict[str, bytes]:
    return {file.name: raw for file, raw in archive.fetch(tiny.dataset.files, lambda event: None)}


def test_fetch_reads_every_file_out_of_the_tarball(served, tiny):
    assert fetch(served, tiny) == tiny.contents


def test_fetch_refuses_a_tarball_with_another_hash(served, tiny):
    with pytest.raises(ProviderError, match=r"another all\.tar\.gz: its SHA-256 is"):
        fetch(replace(served, sha256="0" * 64), tiny)


def test_fetch_stops_when_the_tarball_is_longer_than_it_should_be(served, tiny, web):
    (web[0] / "all.tar.gz").write_bytes(bytes(1_000_000))
    with pytest.raises(ProviderError, match="does not end where it should"):
        fetch(served, tiny)


def test_fetch_names_the_member_that_is_missing(served, tiny):
    with pytest.raises(ProviderError, match="no sound elsewhere/train-images"):
        fetch(replace(served, folder="elsewhere"), tiny)


@pytest.mark.parametrize("kept", [0, 10, 200])
def test_read_member_fails_when_the_tarball_is_cut_short(tiny, kept):
    packed = tarball(tiny.contents)[:kept]
    with pytest.raises(ProviderError, match="no sound"):
        read_member(io.BytesIO(packed), f"inside/{tiny.images.name}", tiny.images)


def test_read_member_writes_nothing(tiny, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    read_member(io.BytesIO(tarball(tiny.contents)), f"inside/{tiny.images.name}", tiny.images)
    assert set(tmp_path.rglob("*")) == before
