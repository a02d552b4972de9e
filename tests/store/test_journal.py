import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evoprune.errors import StoreCorruptedError
from evoprune.genome import BitGenome
from evoprune.results import Evaluation, Status
from evoprune.store.journal import MAX_INLINE_BYTES, Journal, JournalEntry, read_journal

GENOME = BitGenome.from_bits(np.array([True, False, True] * 7))


def entry(index, *, status=Status.OK, genome=GENOME, **values):
    objectives = {} if status is Status.FAILED else {"accuracy": 0.1 + index / 3, "macs": 1000.0}
    evaluation = Evaluation(genome.digest, 0, status, objectives, **values)
    fitness = 0.1 * index if status is Status.OK else None
    return JournalEntry(index, generation=index // 2, genome=genome, evaluation=evaluation, fitness=fitness)


def written(path, count):
    journal = Journal(path)
    for index in range(count):
        journal.append(entry(index))
    journal.close()
    return path


@pytest.fixture
def path(tmp_path):
    return written(tmp_path / "evaluations.jsonl", 4)


@pytest.mark.parametrize(
    "one",
    [
        entry(0),
        entry(0, status=Status.FAILED, reason="loss is nan\n(really) \u2014 \U0001f4a5"),
        entry(0, status=Status.INFEASIBLE, violation=0.1 + 0.2, reason="breaks a constraint"),
    ],
    ids=["ok", "failed", "infeasible"],
)
def test_journal_gives_back_what_was_appended(tmp_path, one):
    journal = Journal(tmp_path / "j.jsonl")
    journal.append(one)
    journal.close()
    assert read_journal(tmp_path / "j.jsonl") == [one]
    assert Journal(tmp_path / "j.jsonl").entries == [one]


def test_journal_syncs_each_line_before_it_goes_on(tmp_path, monkeypatch):
    path, synced = tmp_path / "j.jsonl", []
    monkeypatch.setattr("evoprune.store.atomic.os.fsync", lambda handle: synced.append(path.read_bytes()))
    written(path, 2)
    lines = path.read_bytes().splitlines(keepends=True)
    assert synced == [lines[0], lines[0] + lines[1]]


def test_entry_leaves_the_bits_out_when_the_genome_is_large():
    large = BitGenome(np.zeros(MAX_INLINE_BYTES + 1, np.uint8), 8 * MAX_INLINE_BYTES + 8)
    line = entry(0, genome=large).to_line()
    assert "bits" not in json.loads(line)
    assert JournalEntry.from_line(line).evaluation.genome == large.digest


def test_entry_refuses_to_be_written_when_a_value_is_not_finite():
    evaluation = Evaluation(GENOME.digest, 0, Status.OK, {"accuracy": float("nan")})
    with pytest.raises(ValueError, match="JSON compliant"):
        JournalEntry(0, 0, GENOME, evaluation).to_line()


@pytest.mark.parametrize("lost", [1, 10, 60])
def test_journal_drops_the_last_line_when_it_is_torn(path, lost):
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    journal = Journal(path)
    journal.append(entry(3))
    journal.close()
    assert path.read_bytes() == whole
    assert len(read_journal(path)) == 4


def test_read_journal_leaves_a_torn_line_in_the_file(path):
    torn = path.read_bytes()[:-5]
    path.write_bytes(torn)
    assert len(read_journal(path)) == 3
    assert path.read_bytes() == torn


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [lines[0], lines[1][:-9], *lines[2:]],
        lambda lines: [lines[0], b"", *lines[1:]],
        lambda lines: [lines[0], lines[2], lines[1], lines[3]],
        lambda lines: [lines[0], lines[0], *lines[1:]],
        lambda lines: lines[1:],
        lambda lines: [lines[0], b"\xff\xfe", *lines[2:]],
        lambda lines: [lines[0], b"[" * 100_000, *lines[2:]],
        lambda lines: [lines[0], b"[]", *lines[2:]],
        lambda lines: [lines[0], lines[1].replace(b'"bits":"', b'"bits":"A'), *lines[2:]],
        lambda lines: [lines[0], lines[1].replace(b'"bits":"t', b'"bits":"u'), *lines[2:]],
        lambda lines: [lines[0], lines[1].replace(b'"ok"', b'"fine"'), *lines[2:]],
        lambda lines: [lines[0], lines[1].replace(b"1000.0", b"NaN"), *lines[2:]],
        lambda lines: [lines[0], lines[1].replace(b'"fitness":0.1', b'"fitness":NaN'), *lines[2:]],
        lambda lines: [lines[0], lines[1].replace(b'"fitness":0.1,', b""), *lines[2:]],
        lambda lines: [lines[0], lines[1].replace(b'"index":1', b'"index":1e999'), *lines[2:]],
    ],
    ids=["cut", "empty", "swapped", "doubled", "missing", "bytes", "deep", "list", "bits", "other bits", "status", "nan",
         "fitness", "unscored", "index"],
)  # fmt: skip
def test_journal_names_the_line_when_the_middle_is_damaged(path, damage):
    lines = path.read_bytes().split(b"\n")[:-1]
    damaged = b"\n".join(damage(lines)) + b"\n"
    path.write_bytes(damaged)
    with pytest.raises(StoreCorruptedError, match=r"evaluations\.jsonl, line [123], is damaged"):
        Journal(path)
    assert path.read_bytes() == damaged


@st.composite
def mutations(draw):
    content = bytearray(CONTENT)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 20)))
        content[start:end] = draw(
            st.binary(max_size=12) | st.sampled_from([b"\n", b"null", b"-1", b"1e999", b'""', b"{}"])
        )
    return bytes(content)


CONTENT = b"".join(entry(index).to_line().encode() + b"\n" for index in range(3))


@pytest.mark.slow
@settings(max_examples=300)
@given(mutations() | st.binary(max_size=200))
def test_journal_gives_valid_entries_or_a_clear_error_whatever_the_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.jsonl"
    path.write_bytes(content)
    try:
        entries = read_journal(path)
    except StoreCorruptedError:
        entries = None
    if entries is None:
        assert content != CONTENT
    else:
        assert [one.index for one in entries] == list(range(content.count(b"\n")))
        assert [JournalEntry.from_line(one.to_line()) for one in entries] == entries


def test_journal_keeps_in_memory_what_it_would_read_again(tmp_path):
    large, small = (BitGenome.from_bits(np.ones(length, dtype=bool)) for length in (8 * MAX_INLINE_BYTES + 1, 8))
    journal = Journal(tmp_path / "evaluations.jsonl")
    for index, genome in enumerate((large, small)):
        evaluation = Evaluation(genome.digest, 0, Status.OK, {"accuracy": 0.5})
        journal.append(JournalEntry(index, 0, genome, evaluation, 0.5))
    journal.close()
    assert journal.entries == read_journal(tmp_path / "evaluations.jsonl")
    assert [entry.genome for entry in journal.entries] == [None, small]
