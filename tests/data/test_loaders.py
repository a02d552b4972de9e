import pickle
import random
from collections import UserDict

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from evoprune.data.loaders import LoaderSource
from evoprune.data.overlap import overlap
from evoprune.data.task import Task, as_source
from evoprune.errors import DataError
from evoprune.rng import isolated_rng

CPU = torch.device("cpu")


class Numbered(Dataset):
    """Samples whose target is their number, with as many inputs or augmentation as `form` says."""

    def __init__(self, count, form=lambda number: torch.full((3,), float(number))):
        self.count, self.form = count, form

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        return self.form(number), number


def draws(_):
    return torch.tensor([torch.rand(()).item(), np.random.rand(), random.random()])  # noqa: NPY002


def time_first(samples):
    inputs, targets = default_collate(samples)
    return inputs.transpose(0, 1), targets


def packed(samples):
    return pack_sequence([x for x, _ in samples], enforce_sorted=False), torch.tensor([y for _, y in samples])


def flat_objects(samples):
    """As YOLO has it: image numbers and boxes of all images in one tensor, [objects, 6]."""
    images, numbers = default_collate(samples)
    return images, torch.tensor([[image, n, 0, 0, 1, 1] for image, n in enumerate(numbers.tolist()) for _ in range(n)])


def lists(samples):
    return tuple(zip(*samples, strict=True))


def labelled(samples):
    inputs, targets = default_collate(samples)
    return UserDict(x=inputs, labels=targets)


def read(source, batch_size=4, seed=None):
    return list(source.batches(batch_size, device=CPU, seed=seed))


def numbers(source, batch_size=4, seed=None):
    return [batch[1].tolist() for batch in read(source, batch_size, seed)]


def order(source, batch_size=4, seed=None):
    return [number for batch in numbers(source, batch_size, seed) for number in batch]


SQUARE = Numbered(10, lambda number: torch.full((4, 3), float(number)))
COLLATED = {
    "time first, as many steps as samples": (time_first, lambda inputs, _: inputs[0, :, 0].tolist()),
    "packed": (
        packed,
        lambda inputs, _: [float(one) for one in inputs.data[: inputs.batch_sizes[0], 0][inputs.unsorted_indices]],
    ),
    "objects of all images": (flat_objects, lambda inputs, _: inputs[:, 0, 0].tolist()),
    "lists": (lists, lambda inputs, _: [image[0, 0].item() for image in inputs[0]]),
    "dict with labels": (labelled, lambda inputs, _: inputs["x"][:, 0, 0].tolist()),
}


@pytest.mark.parametrize(("collate", "seen"), COLLATED.values(), ids=COLLATED)
def test_loader_source_passes_batches_through_whole_and_counts_them_by_the_sampler(collate, seen):
    loader = DataLoader(SQUARE, batch_size=4, collate_fn=collate)
    source = as_source(loader, "train")
    batches = read(source)
    assert [batch.samples for batch in batches] == [4, 4, 2]
    assert [seen(*batch) for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(source) == 10


@pytest.mark.parametrize(("collate", "seen"), COLLATED.values(), ids=COLLATED)
def test_loader_source_makes_smaller_batches_from_fewer_samples(collate, seen):
    source = as_source(DataLoader(SQUARE, batch_size=4, collate_fn=collate), "select")
    assert [seen(*batch) for batch in read(source.head(6))] == [[0, 1, 2, 3], [4, 5]]
    part = read(source)[1].part(1, 3)
    assert (part.samples, seen(*part)) == (2, [5, 6])


def test_loader_source_of_several_loaders_ends_where_its_size_does():
    joined = as_source(DataLoader(SQUARE, batch_size=4), "a").joined(as_source(DataLoader(SQUARE, batch_size=4), "b"))
    assert [order(joined.head(size)) for size in (0, 10, 11)] == [[], list(range(10)), [*range(10), 0]]


def test_loader_source_gives_objects_of_all_images_anew_when_a_batch_is_cut():
    source = as_source(DataLoader(SQUARE, batch_size=4, collate_fn=flat_objects), "train")
    _, whole = read(source)[0]
    _, part = read(source)[0].part(2, 4)
    assert whole[:, :2].tolist() == [[1, 1], [2, 2], [2, 2], [3, 3], [3, 3], [3, 3]]
    assert part[:, :2].tolist() == [[0, 2], [0, 2], [1, 3], [1, 3], [1, 3]]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_loader_source_gives_images_as_a_list_as_one_argument_however_few_there_are(batch_size):
    images = Numbered(5, lambda number: torch.full((1, 4, 4), float(number)))
    source = as_source(DataLoader(images, batch_size=batch_size, collate_fn=lists), "train")
    assert all(type(inputs) is tuple and len(inputs) == 1 and type(inputs[0]) is tuple for inputs, _ in read(source))


def test_loader_source_gives_several_inputs_as_several_arguments():
    pairs = Numbered(5, lambda number: (torch.zeros(3), torch.ones(4)))
    inputs, _ = read(as_source(DataLoader(pairs, batch_size=2), "train"))[0]
    assert [tuple(one.shape) for one in inputs] == [(2, 3), (2, 4)]


class Evens(Sampler):
    """A sampler of the user's own, which draws from Python's generator."""

    def __iter__(self):
        rows = list(range(0, 10, 2))
        random.shuffle(rows)
        return iter(rows)

    def __len__(self):
        return 5


class Epochs(Sampler):
    """A sampler that is told the epoch, as torch's DistributedSampler."""

    def __init__(self):
        self.epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        return iter(torch.randperm(10, generator=torch.Generator().manual_seed(self.epoch)).tolist())

    def __len__(self):
        return 10


SAMPLERS = {
    "of the user's own": ({"sampler": Evens(), "batch_size": 4}, [0, 2, 4, 6, 8]),
    "by epoch": ({"sampler": Epochs(), "batch_size": 4}, list(range(10))),
    "subset": ({"sampler": SubsetRandomSampler([3, 5, 7]), "batch_size": 4}, [3, 5, 7]),
    "batch sampler": ({"batch_sampler": BatchSampler(RandomSampler(range(10)), 4, drop_last=False)}, list(range(10))),
    "batch sampler over a sampler": ({"batch_sampler": BatchSampler(Evens(), 2, drop_last=False)}, [0, 2, 4, 6, 8]),
}


@pytest.mark.parametrize(("how", "rows"), SAMPLERS.values(), ids=SAMPLERS)
def test_loader_source_keeps_a_sampler_and_lets_the_seed_alone_decide_its_order(how, rows):
    source = as_source(DataLoader(Numbered(10), **how), "train")
    first = numbers(source, seed=1)
    with isolated_rng(9):
        assert numbers(source, seed=1) == first != numbers(source, seed=2)
    assert sorted(row for batch in first for row in batch) == sorted(order(source)) == rows
    assert len(source) == len(rows)


def test_loader_source_draws_as_many_as_a_sampler_says():
    weights = WeightedRandomSampler([1.0, 0, 0, 1.0], 6)
    source = as_source(DataLoader(Numbered(4), batch_size=4, sampler=weights), "train")
    assert len(source) == len(order(source)) == len(order(source, seed=3)) == 6
    assert set(order(source, seed=3)) == {0, 3}


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("collate", [default_collate, time_first])
def test_loader_source_augments_as_the_seed_says_whichever_process_reads(seed, collate):
    loaders = [
        DataLoader(Numbered(10, draws), batch_size=4, num_workers=workers, collate_fn=collate) for workers in (0, 2)
    ]
    sources = [as_source(loader, "train") for loader in loaders]
    with isolated_rng(3):
        read(sources[0], seed=8)
        first = read(sources[0], seed=seed)
    states = random.getstate(), torch.get_rng_state()
    again, elsewhere, later = (read(source, seed=seed) for source in (sources[0], sources[1], sources[1]))
    other = read(sources[0], seed=7)
    sources[1].close()
    assert (random.getstate() == states[0], torch.get_rng_state().equal(states[1])) == (True, True)
    for one in (again, elsewhere, later):
        assert all(a[0].equal(b[0]) and a[1].equal(b[1]) for a, b in zip(first, one, strict=True))
    assert not any(a[0].equal(b[0]) for a, b in zip(first, other, strict=True))
    assert len({tuple(row) for batch in first for row in batch[0].reshape(-1, 3).tolist()}) > 3


class Pid(Numbered):
    """Samples that say which process read them, and whether it was set up."""

    ready = 0

    def __getitem__(self, number):
        return torch.tensor([torch.utils.data.get_worker_info() is not None, self.ready]), number


def set_up(worker):
    torch.utils.data.get_worker_info().dataset.ready = 7


def test_loader_source_keeps_workers_between_passes_and_starts_them_as_the_user_says():
    loader = DataLoader(Pid(8), batch_size=4, num_workers=1, worker_init_fn=set_up, prefetch_factor=3)
    source = as_source(loader, "train")
    inputs, _ = read(source)[0]
    kept = source.passes[0]._kept
    head = source.head(4)
    read(head, seed=1)
    assert inputs.tolist() == [[1, 7]] * 4
    assert kept is head.passes[0]._kept is source.passes[0]._kept
    assert (kept.num_workers, kept.prefetch_factor, kept.persistent_workers) == (1, 3, True)
    del kept
    source.close()


def test_loader_source_can_be_read_twice_at_a_time():
    source = as_source(DataLoader(Numbered(8), batch_size=4, num_workers=1), "train")
    both = [
        (a[1].tolist(), b[1].tolist())
        for a, b in zip(source.batches(4, device=CPU), source.batches(4, device=CPU), strict=True)
    ]
    source.close()
    assert both == [([0, 1, 2, 3],) * 2, ([4, 5, 6, 7],) * 2]


def test_loader_source_travels_without_its_workers():
    loader = DataLoader(
        Numbered(8, draws), batch_size=4, num_workers=1, persistent_workers=True, generator=torch.Generator()
    )
    next(iter(loader))
    source = as_source(loader, "train")
    read(source)
    again = pickle.loads(pickle.dumps(source))
    source.close()
    loader._iterator = None
    assert numbers(again.head(0)) == []
    assert len(again) == 8


def test_loader_source_reads_a_data_set_without_a_loader_in_batches_of_the_size_asked_for():
    source = as_source(Numbered(7), "train")
    assert numbers(source, 3) == [[0, 1, 2], [3, 4, 5], [6]]
    assert sorted(order(source, 3, seed=1)) == list(range(7))
    assert numbers(source, 3, seed=1) != numbers(source, 3, seed=2)
    assert source.batch_count(3) == 3


class Stream(IterableDataset):
    def __init__(self, count):
        self.count = count

    def __iter__(self):
        for number in range(self.count):
            yield draws(number), number


@pytest.mark.parametrize("collate", [default_collate, time_first])
def test_loader_source_counts_a_stream_that_has_no_length(collate):
    source = as_source(DataLoader(Stream(10), batch_size=4, collate_fn=collate), "train")
    assert (len(source), source.batch_count(4)) == (10, 3)
    assert [batch.samples for batch in read(source, seed=1)] == [4, 4, 2]


def test_loader_source_augments_a_stream_as_the_seed_says():
    source = as_source(DataLoader(Stream(10), batch_size=4), "train")
    first, other = read(source, seed=1), read(source, seed=2)
    with isolated_rng(4):
        again = read(source, seed=1)
    assert all(a[0].equal(b[0]) for a, b in zip(first, again, strict=True))
    assert not any(a[0].equal(b[0]) for a, b in zip(first, other, strict=True))


BATCHES = [(torch.zeros(2, 1), torch.zeros(2))]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Stream(4), "IterableDataset without a loader"),
        (DataLoader(Numbered(5), batch_size=8, drop_last=True), "drops all of its 5 samples.*smaller batch_size"),
        ([(torch.zeros(4, 3), torch.zeros(5, 6))], "can't tell how many samples"),
        ([(torch.zeros(3), 1), (torch.zeros(3), 0)], "one target per sample.*Dataset or a DataLoader"),
        ([{"x": torch.zeros(3)}], "pairs .inputs, targets. or dicts with labels, not dict of 1"),
    ],
)
def test_task_refuses_data_that_can_not_be_read_as_batches(data, message):
    with pytest.raises(DataError, match=message):
        Task(data, list(BATCHES), list(BATCHES))


def test_task_reads_a_list_of_batches_along_the_dimension_that_it_is_told():
    batches = [(torch.zeros(40, 16, 3), torch.zeros(40, 16))]
    task = Task(batches, list(batches), list(batches), batch_dim=1)
    assert (len(task.train), len(Task(batches, list(batches), list(batches)).train)) == (16, 40)
    assert read(task.select.head(5))[0][1].shape == (40, 5)


X, Y = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)), torch.zeros(40)
A = TensorDataset(X, Y)
TURNED = X.t().contiguous().t()
ARRAY = np.zeros((40, 6), dtype=np.float32)


def rows(start, stop, x=X):
    return DataLoader(TensorDataset(x[start:stop], Y[start:stop]), batch_size=4)


def of_array(start, stop):
    return DataLoader(TensorDataset(torch.from_numpy(ARRAY[start:stop]), Y[start:stop]))


SHARED = {
    "slices of one tensor": (rows(0, 20), rows(19, 40)),
    "other columns of the same rows": (rows(0, 20, X[:, :3]), rows(19, 40, X[:, 3:])),
    "every other row": (rows(0, 20, X[::2]), rows(0, 10, X[:10])),
    "slices of one array": (of_array(0, 20), of_array(19, 40)),
    "slices along time": (rows(0, 20, TURNED), rows(19, 22, TURNED)),
    "a data set and its concatenation": (DataLoader(ConcatDataset([Numbered(3), A])), DataLoader(A)),
    "parts of concatenations": (
        DataLoader(Subset(ConcatDataset([Numbered(3), A]), [0, 5])),
        DataLoader(Subset(A, [2])),
    ),
    "a list as sampler": (DataLoader(A, sampler=[1, 2]), DataLoader(A, sampler=[2, 3])),
    "batches of indices": (DataLoader(A, batch_sampler=[[1], [2]]), DataLoader(Subset(A, [2]))),
    "a data set without a loader": (A, DataLoader(A)),
}
APART = {
    "slices along time": (rows(0, 20, TURNED), rows(20, 22, TURNED)),
    "slices of one tensor": (rows(0, 20), rows(20, 40)),
    "odd and even rows": (rows(0, 20, X[::2]), rows(0, 20, X[1::2])),
    "other columns of other rows": (rows(0, 20, X[:, :3]), rows(20, 40, X[:, 3:])),
    "slices of one array": (of_array(0, 20), of_array(20, 40)),
    "rows in a subset": (DataLoader(Subset(rows(0, 20).dataset, [1, 2])), rows(5, 20)),
    "one row for all": (rows(0, 20, X[:1].expand(40, 6)), rows(20, 40, X[:1].expand(40, 6))),
    "parts of concatenations": (
        DataLoader(Subset(ConcatDataset([Numbered(3), A]), [0, 5])),
        DataLoader(Subset(A, [3])),
    ),
    "a list as sampler": (DataLoader(A, sampler=[1, 2]), DataLoader(A, sampler=[3, 4])),
    "the same targets": (DataLoader(TensorDataset(X, Y)), DataLoader(TensorDataset(X.clone(), Y))),
}


@pytest.mark.parametrize("pair", SHARED.values(), ids=SHARED)
def test_overlap_finds_samples_that_two_sets_share(pair):
    one, other = map(as_loaders, pair)
    assert overlap(one, other)
    assert overlap(other, one)


@pytest.mark.parametrize("pair", APART.values(), ids=APART)
def test_overlap_lets_sets_pass_that_share_none(pair):
    one, other = map(as_loaders, pair)
    assert not overlap(one, other)
    assert not overlap(other, one)


def as_loaders(data):
    return LoaderSource((data,))
