import gzip
from pathlib import Path

import pytest

from evoprune.datasets.cache import DataCache
from evoprune.datasets.user_directory import open_user_file
from evoprune.errors import DataError


def write(path: Path, contents: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(contents) if path.suffix == ".gz" else contents)


@pytest.mark.parametrize(
    "place",
    [
        "train-images-idx3-ubyte",
        "train-images-idx3-ubyte.gz",
        "MNIST/raw/train-images-idx3-ubyte",
        "train-images.idx3-ubyte",
    ],
)
def test_open_user_file_finds_the_file_when_it_is_raw_or_packed_or_laid_out_by_others(tiny, tmp_path, place: str):
    raw = tiny.contents[tiny.images.name]
    write(tmp_path / "mine" / place, raw)
    assert open_user_file(tmp_path / "mine", tiny.images, tiny.cache).tobytes() == raw[16:]
    assert (tiny.cache.read(tiny.images) is not None) == place.endswith(".gz")


def test_open_user_file_still_delivers_when_a_packed_file_can_not_be_cached(tiny, tmp_path: Path):
    raw = tiny.contents[tiny.images.name]
    write(tmp_path / "mine" / f"{tiny.images.name}.gz", raw)
    (tmp_path / "blocked").touch()
    array = open_user_file(tmp_path / "mine", tiny.images, DataCache(tmp_path / "blocked"))
    assert array.tobytes() == raw[16:]
    assert array.flags.writeable


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_open_user_file_refuses_a_damaged_file_when_the_cache_has_a_sound_one(tiny, tmp_path: Path, suffix: str):
    raw = tiny.contents[tiny.images.name]
    tiny.cache.store(tiny.images, raw)
    path = tmp_path / "mine" / f"{tiny.images.name}{suffix}"
    write(path, raw[:-1] + b"!")
    with pytest.raises(DataError, match="is not the original") as caught:
        open_user_file(tmp_path / "mine", tiny.images, tiny.cache)
    assert str(path) in caught.value.message


def test_open_user_file_refuses_a_packed_file_when_it_is_not_gzip(tiny, tmp_path: Path):
    (tmp_path / f"{tiny.images.name}.gz").write_bytes(b"<html>")
    with pytest.raises(DataError, match="not a sound gzip file"):
        open_user_file(tmp_path, tiny.images, tiny.cache)


def test_open_user_file_asks_about_a_swap_when_labels_lie_where_images_should(tiny, tmp_path: Path):
    write(tmp_path / tiny.images.name, tiny.contents["train-labels-idx1-ubyte"])
    with pytest.raises(DataError, match="1 dimensions, 3 expected") as caught:
        open_user_file(tmp_path, tiny.images, tiny.cache)
    assert "swapped" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "words"), [("empty", "has no train-images"), ("none", "not exist"), ("file", "folder")]
)
def test_open_user_file_names_the_key_when_the_folder_is_no_use(tiny, tmp_path: Path, kind: str, words: str):
    folder = tmp_path / "mine"
    if kind == "empty":
        folder.mkdir()
    elif kind == "file":
        folder.touch()
    with pytest.raises(DataError, match=words) as caught:
        open_user_file(folder, tiny.images, tiny.cache)
    assert "data.dir" in caught.value.hint
