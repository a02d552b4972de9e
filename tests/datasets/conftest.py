"""Tiny data sets, a provider and a web server of their own, and the real data where it can be had."""

from __future__ import annotations

import functools
import hashlib
import http.server
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from evoprune.data.tensors import Preprocessing
from evoprune.datasets.cache import DataCache
from evoprune.datasets.catalogue import CATALOGUE, ImageDataset
from evoprune.datasets.data_file import DataFile
from evoprune.datasets.images import ImageData, load_images
from evoprune.datasets.providers import ProviderError
from evoprune.errors import DataError
from evoprune.events import Listener


def idx_bytes(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@dataclass
class TinyProvider:
    """Delivers what it has, then stops or fails; remembers what it was asked for."""

    contents: dict[str, bytes]
    name: str = "tiny provider"
    failure: str = ""
    asked: list[str] = field(default_factory=list)

    def fetch(self, files: Sequence[DataFile], notify: Listener) -> Iterator[tuple[DataFile, bytes]]:
        for file in files:
            self.asked.append(file.name)
            if file.name not in self.contents:
                raise ProviderError(self.failure or f"has no {file.name}")
            yield file, self.contents[file.name]


@dataclass(frozen=True)
class Tiny:
    """Twenty training and eight test images of 4 x 4."""

    dataset: ImageDataset
    contents: dict[str, bytes]
    cache: DataCache

    @property
    def images(self) -> DataFile:
        return self.dataset.files[0]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    random = np.random.default_rng(0)
    shapes = {"train-images-idx3-ubyte": (20, 4, 4), "train-labels-idx1-ubyte": (20,)}
    shapes |= {"t10k-images-idx3-ubyte": (8, 4, 4), "t10k-labels-idx1-ubyte": (8,)}
    contents = {name: idx_bytes(random.integers(0, 10, shape, dtype=np.uint8)) for name, shape in shapes.items()}
    files = [DataFile(name, shape, hashlib.sha256(contents[name]).hexdigest()) for name, shape in shapes.items()]
    dataset = ImageDataset("Tiny", tuple(files), (TinyProvider(contents),), Preprocessing((0.5,), (0.5,)), ("a", "b"))
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(CATALOGUE, "tiny", dataset)
    return Tiny(dataset, contents, DataCache(tmp_path / "cache" / "tiny"))


@pytest.fixture
def fake_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a shell script of a given name on an otherwise empty PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return install


@pytest.fixture
def tiny_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with CIFAR-10 in miniature: six files of twenty records."""
    dataset, random = CATALOGUE["cifar-10"], np.random.default_rng(0)
    files = tuple(replace(file, shape=(20, file.shape[1])) for file in dataset.files)
    monkeypatch.setitem(CATALOGUE, "cifar-10", replace(dataset, files=files, providers=()))
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cifar" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for file in files:
        records = random.integers(0, 256, file.shape, dtype=np.uint8)
        records[:, 0] %= 10
        (folder / file.name).write_bytes(records.tobytes())
    return folder


@pytest.fixture(scope="session")
def real_mnist() -> ImageData:
    try:
        return load_images("mnist")
    except DataError as error:
        pytest.skip(f"real MNIST can't be had here: {error.message}")


@pytest.fixture(scope="session")
def real_cifar() -> ImageData:
    try:
        return load_images("cifar-10")
    except DataError as error:
        pytest.skip(f"real CIFAR-10 can't be had here: {error.message}")


@pytest.fixture
def tiny_provider() -> type[TinyProvider]:
    return TinyProvider


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder and the URL it is served at."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "www"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()
