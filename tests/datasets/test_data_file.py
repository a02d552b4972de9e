import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.datasets.catalogue import CATALOGUE
from evoprune.datasets.data_file import DataFile
from evoprune.errors import DataError

FILE = DataFile("labels", (4,), "0" * 64)


def test_size_bytes_is_that_of_the_raw_files_of_mnist():
    sizes = [file.size_bytes for file in CATALOGUE["mnist"].files]
    assert sizes == [47_040_016, 60_008, 7_840_016, 10_008]


def test_open_maps_the_file_copy_on_write(tiny, tmp_path: Path):
    path = tmp_path / "images"
    path.write_bytes(tiny.contents[tiny.images.name])
    array = tiny.images.open(path)
    array[0, 0, 0] ^= 1
    assert isinstance(array.base, np.memmap) or isinstance(array, np.memmap)
    assert path.read_bytes() == tiny.contents[tiny.images.name]


def test_open_names_both_hashes_when_one_byte_differs(tiny, tmp_path: Path):
    path = tmp_path / "images"
    damaged = bytearray(tiny.contents[tiny.images.name])
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=f"{tiny.images.sha256} expected") as caught:
        tiny.images.open(path)
    assert str(path) in caught.value.message


def test_open_says_so_when_the_file_is_cut_short(tiny, tmp_path: Path):
    path = tmp_path / "images"
    path.write_bytes(tiny.contents[tiny.images.name][:100])
    with pytest.raises(DataError, match="cut short: 84 bytes of data, 320 expected"):
        tiny.images.open(path)


@pytest.mark.parametrize(("kind", "words"), [("empty", "is empty"), ("missing", "can't be read"), ("folder", "can't")])
def test_open_says_so_when_there_is_no_file_to_read(tiny, tmp_path: Path, kind: str, words: str):
    path = tmp_path / "images"
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(DataError, match=words):
        tiny.images.open(path)


def test_unpack_stops_one_byte_past_the_right_length_when_the_gzip_is_a_bomb():
    assert len(FILE.unpack(gzip.compress(bytes(10_000_000)), "bomb.gz")) == FILE.size_bytes + 1


@given(data=st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: gzip.compress(b"12345678")[:20] + rest))
def test_unpack_gives_bytes_or_a_data_error_when_the_gzip_is_random(data: bytes):
    try:
        raw = FILE.unpack(data, "labels.gz")
    except DataError:
        return
    assert len(raw) <= FILE.size_bytes + 1
