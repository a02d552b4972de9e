import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.datasets.idx import parse_idx
from evoprune.errors import DataError


def parse(data: bytes, rank: int = 3) -> np.ndarray:
    return parse_idx(np.frombuffer(data, dtype=np.uint8), rank=rank, where="the file")


def header(*sizes: int, magic: bytes = b"\0\0\x08") -> bytes:
    return magic + bytes([len(sizes)]) + b"".join(size.to_bytes(4, "big") for size in sizes)


def test_parse_idx_returns_the_array_without_a_copy_when_the_file_is_sound():
    data = np.frombuffer(header(2, 2, 3) + bytes(range(12)), dtype=np.uint8)
    array = parse_idx(data, rank=3, where="the file")
    assert array.tolist() == np.arange(12).reshape(2, 2, 3).tolist()
    assert np.shares_memory(array, data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "begins with nothing"),
        (b"\0\0", "not an IDX file"),
        (b"<html>no such page</html>", "not an IDX file: it begins with 3c68746d"),
        (b"\x1f\x8b\x08\0rest", "gzip-compressed"),
        (header(1, 1, 1, magic=b"\0\0\x0d") + b"abcd", "element type 0x0d"),
        (header(4) + b"abcd", "has 1 dimensions, 3 expected"),
        (header(1, 1, 1)[:9], "cut short"),
        (header(2, 2, 2) + b"1234567", "7 bytes of data, 8 expected"),
        (header(2, 2, 2) + b"123456789", "1 bytes more"),
        (header(0, 28, 28), "no items"),
    ],
)
def test_parse_idx_says_what_is_wrong_when_the_file_is_damaged(data: bytes, words: str):
    with pytest.raises(DataError, match=words) as caught:
        parse(data)
    assert "the file" in caught.value.message
    assert caught.value.hint


def test_parse_idx_allocates_nothing_when_the_header_promises_the_world():
    data = np.frombuffer(header(2**32 - 1, 2**32 - 1, 2**32 - 1) + b"x", dtype=np.uint8)
    tracemalloc.start()
    with pytest.raises(DataError, match="cut short"):
        parse_idx(data, rank=3, where="the file")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@given(data=st.binary(max_size=64) | st.binary(max_size=40).map(lambda rest: b"\0\0\x08\x03" + rest))
def test_parse_idx_gives_all_bytes_or_a_data_error_when_the_bytes_are_random(data: bytes):
    try:
        array = parse(data)
    except DataError:
        return
    assert array.tobytes() == data[16:]
    assert math.prod(array.shape) == len(data) - 16


@given(position=st.integers(0, 15), value=st.integers(0, 255), cut=st.integers(0, 24), shape=st.permutations([2, 2, 6]))
def test_parse_idx_notices_or_keeps_all_bytes_when_a_sound_header_is_changed(position, value, cut, shape):
    data = bytearray(header(*shape) + bytes(24))
    data[position] = value
    shortened = bytes(data[: len(data) - cut])
    try:
        array = parse(shortened)
    except DataError:
        return
    assert array.size == 24 - cut
