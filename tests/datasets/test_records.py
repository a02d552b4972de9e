import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.datasets.catalogue import CATALOGUE
from evoprune.datasets.records import RECORD_BYTES, parse_records
from evoprune.errors import DataError


def file_of(labels) -> np.ndarray:
    records = np.zeros((len(labels), RECORD_BYTES), dtype=np.uint8)
    records[:, 0] = labels
    records[:, 1:] = np.arange(1, RECORD_BYTES) % 251
    return records.reshape(-1)


def test_parse_gives_records_with_the_label_first_without_a_copy():
    data = file_of([3, 9, 0])
    records = parse_records(data, records=3, where="batch")
    assert records.shape == (3, 3073)
    assert records[:, 0].tolist() == [3, 9, 0]
    assert np.shares_memory(records, data)


@given(cut=st.integers(0, 3 * RECORD_BYTES - 1))
def test_parse_refuses_a_file_cut_anywhere(cut):
    with pytest.raises(DataError, match=rf"batch is cut short: {cut:,} bytes, 9,219 expected"):
        parse_records(file_of([0, 1, 2])[:cut], records=3, where="batch")


@given(more=st.integers(1, 5000))
def test_parse_refuses_a_file_that_is_too_long(more):
    with pytest.raises(DataError, match="batch is too long"):
        parse_records(np.append(file_of([0, 1]), np.zeros(more, np.uint8)), records=2, where="batch")


@given(label=st.integers(10, 255), row=st.integers(0, 4))
def test_parse_names_the_record_whose_label_is_wrong(label, row):
    labels = [1] * 5
    labels[row] = label
    with pytest.raises(DataError, match=f"label {label} in record {row}, 0 to 9 accepted") as caught:
        parse_records(file_of(labels), records=5, where="batch")
    assert "binary version" in caught.value.hint


def test_parse_says_so_when_the_file_is_compressed():
    with pytest.raises(DataError, match="gzip-compressed"):
        parse_records(np.frombuffer(b"\x1f\x8b" + bytes(50), np.uint8), records=1, where="batch")


def test_catalogue_knows_the_length_of_the_files_of_cifar():
    files = CATALOGUE["cifar-10"].files
    assert [file.name for file in files] == [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]
    assert {file.size_bytes for file in files} == {30_730_000}
