import gc
import weakref

import pytest
import torch

from evoprune.errors import DeviceMemoryError
from evoprune.nn_utils.memory import MicroBatch, telling_of_full_memory


def needs(room, error=torch.OutOfMemoryError):
    tried = []

    def work(size):
        tried.append(size)
        if size > room:
            raise error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return size

    work.tried = tried
    return work


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_attempt_halves_until_the_work_fits_and_remembers(error):
    said = []
    batch = MicroBatch(100, stage="work", notify=said.append)
    work = needs(30, error)
    assert [batch.attempt(work), batch.attempt(work)] == [16, 16]
    assert work.tried == [100, 56, 32, 16, 16]
    assert [event.micro_batch for event in said] == [56, 32, 16]


def test_attempt_leaves_batches_whole_until_one_does_not_fit():
    work, batch = needs(600), MicroBatch(None, stage="work")
    assert [batch.attempt(work, samples=samples) for samples in (500, 600)] == [500, 600]
    assert batch.attempt(work, samples=1000) == 504
    assert batch.attempt(work, samples=600) == 504


def test_attempt_goes_down_to_the_smallest_sensible_size_and_no_further():
    work, batch = needs(0), MicroBatch(20, stage="work")
    with pytest.raises(DeviceMemoryError, match="8 samples"):
        batch.attempt(work)
    assert work.tried == [20, 16, 8]


def test_attempt_tries_once_when_the_batch_is_small_already():
    work = needs(0)
    with pytest.raises(DeviceMemoryError, match="3 samples"):
        MicroBatch(3, stage="work").attempt(work)
    assert work.tried == [3]


def test_attempt_passes_on_other_errors():
    def work(size):
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({size}x1 and 2x2)")

    batch = MicroBatch(64, stage="work")
    with pytest.raises(RuntimeError, match="shapes"):
        batch.attempt(work)
    assert batch.size == 64


def test_attempt_lets_go_of_what_the_failed_pass_held():
    held = []

    def work(size):
        gc.disable()
        if held:
            return held[0]()
        activations = torch.zeros(size)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("full")

    try:
        assert MicroBatch(64, stage="work").attempt(work) is None
    finally:
        gc.enable()
    assert len(held) == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=["python", "cuda", "context", "cublas", "host"],
)
def test_full_memory_is_told_with_what_to_do_wherever_it_turns_up(error):
    with (
        pytest.raises(DeviceMemoryError, match="setting up: out of memory") as caught,
        telling_of_full_memory("setting up"),
    ):
        raise error
    assert "fewer candidates at a time" in caught.value.hint
    assert "\n" not in caught.value.message


def test_other_errors_pass_as_they_are():
    with pytest.raises(RuntimeError, match="shapes"), telling_of_full_memory("setting up"):
        raise RuntimeError("shapes differ")
