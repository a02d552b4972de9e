import numpy as np
import pytest
import torch

from evoprune.errors import StoreCorruptedError
from evoprune.genome import BitGenome
from evoprune.store.states import State, StateFolder

CRITERIA = ("root-fisher", "fisher", "lamp", "magnitude", "a", "z")


def a_state(value=1.0):
    weights = {"fc.weight": torch.full((2, 3), value), "steps": torch.tensor(7), "half": torch.ones(2).bfloat16()}
    alive = {"fc.weight": np.array([True, False, True, True, False, True])}
    orders = {name: {"fc.weight": np.full(6, number, dtype=np.float32)} for number, name in enumerate(CRITERIA)}
    return State(weights, alive, orders)


def same(one, other):
    return (
        one.weights.keys() == other.weights.keys()
        and all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())
        and all(np.array_equal(value, other.alive[name]) for name, value in one.alive.items())
        and [(name, value["fc.weight"].tolist()) for name, value in one.orders.items()]
        == [(name, value["fc.weight"].tolist()) for name, value in other.orders.items()]
    )


def test_folder_gives_back_what_was_put_criteria_in_their_order(tmp_path):
    folder = StateFolder(tmp_path)
    digest = folder.put(a_state())
    # Ten times, because safetensors reads a file in an order that chance decides.
    assert all(same(folder.get(digest), a_state()) for _ in range(10))
    assert list(folder.get(digest).orders) == list(CRITERIA)


def test_equal_states_are_one_file_and_others_are_not(tmp_path):
    folder = StateFolder(tmp_path)
    assert folder.put(a_state()) == folder.put(folder.get(folder.put(a_state())))
    assert folder.put(a_state(2.0)) != folder.put(a_state())
    assert len(list((tmp_path / "states").iterdir())) == 2


@pytest.mark.parametrize("damage", ["missing", "truncated", "exchanged", "empty"])
def test_folder_refuses_a_state_that_is_not_what_its_name_says(tmp_path, damage):
    folder = StateFolder(tmp_path)
    digest = folder.put(a_state())
    path, content = folder.path(digest), folder.path(digest).read_bytes()
    replaced = {"truncated": content[:-4], "exchanged": a_state(2.0).to_bytes(), "empty": b""}
    path.unlink()
    if damage in replaced:
        path.write_bytes(replaced[damage])
    with pytest.raises(StoreCorruptedError, match=digest) as caught:
        folder.get(digest)
    assert "restore it from a copy" in caught.value.hint


def test_folder_replaces_a_damaged_file_when_its_state_is_put_again(tmp_path):
    folder = StateFolder(tmp_path)
    digest = folder.put(a_state())
    folder.path(digest).write_bytes(b"damaged")
    assert folder.put(a_state()) == digest
    assert same(folder.get(digest), a_state())


def test_folder_keeps_what_it_is_told_and_every_genome(tmp_path):
    folder = StateFolder(tmp_path)
    kept, gone = folder.put(a_state()), folder.put(a_state(2.0))
    folder.put_genome(BitGenome.from_bits(np.ones(5, dtype=np.bool_)))
    folder.keep_only({kept})
    assert folder.path(kept).exists()
    assert not folder.path(gone).exists()
    assert len(list((tmp_path / "states").glob("*.bits"))) == 1


def test_keeping_states_does_nothing_when_there_is_no_folder(tmp_path):
    StateFolder(tmp_path).keep_only(set())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [1, 8, 13, 600_001])
def test_folder_gives_back_a_genome_of_any_length(tmp_path, length):
    folder = StateFolder(tmp_path)
    genome = BitGenome.from_bits(np.random.default_rng(length).random(length) < 0.5)
    folder.put_genome(genome)
    assert folder.genome(genome.digest) == genome
    assert folder.genome(genome.digest).length == length


@pytest.mark.parametrize("damage", [None, b"", b"\x00" * 7, b"\x00" * 30, b"\x00" * 7 + b"\x0d\xff\xff", b"\xff" * 10])
def test_folder_refuses_a_genome_that_is_not_what_its_name_says(tmp_path, damage):
    folder = StateFolder(tmp_path)
    genome = BitGenome.from_bits(np.zeros(13, dtype=np.bool_))
    folder.put_genome(genome)
    folder.genome_path(genome.digest).unlink()
    if damage is not None:
        folder.genome_path(genome.digest).write_bytes(damage)
    with pytest.raises(StoreCorruptedError, match=genome.digest):
        folder.genome(genome.digest)
