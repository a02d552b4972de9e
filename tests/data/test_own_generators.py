import functools
import pickle
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, Subset

from evoprune.data.loaders import LoaderSource
from evoprune.data.own_generators import own_generators, seeded
from evoprune.seeding import SeedTree

CPU = torch.device("cpu")
GLOBAL = np.random.default_rng(3)
MAKERS = {
    "numpy": lambda: np.random.default_rng(0),
    "numpy, old": lambda: np.random.RandomState(0),
    "python": lambda: random.Random(0),
    "torch": lambda: torch.Generator().manual_seed(0),
}
DRAWS = {
    "numpy": lambda own: own.random(),
    "numpy, old": lambda own: own.rand(),
    "python": lambda own: own.random(),
    "torch": lambda own: torch.rand((), generator=own).item(),
}


class Noise:
    """A transform."""

    def __init__(self, kind):
        self.kind, self.own = kind, MAKERS[kind]()

    def __call__(self, value):
        return value + DRAWS[self.kind](self.own)


class Noisy(Dataset):
    def __init__(self, *transforms):
        self.transforms = list(transforms)

    def __len__(self):
        return 6

    def __getitem__(self, number):
        value = float(number)
        for transform in self.transforms:
            value = transform(value)
        return torch.tensor([value]), number


class GloballyNoisy(Noisy):
    def __getitem__(self, number):
        return torch.tensor([number + GLOBAL.random()]), number


class NoisyStream(IterableDataset):
    def __init__(self, transform):
        self.data = Noisy(transform)

    def __iter__(self):
        return (self.data[number] for number in range(6))


class OwnOrder(Sampler):
    def __init__(self):
        self.own = random.Random(0)

    def __iter__(self):
        return iter(self.own.sample(range(6), 6))

    def __len__(self):
        return 6


def read(source, seed):
    return [torch.cat((batch[0], batch[1][:, None]), dim=1) for batch in source.batches(2, device=CPU, seed=seed)]


def same(first, second):
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def loader(data, **arguments):
    return LoaderSource((DataLoader(data, batch_size=2, **arguments),))


@pytest.mark.parametrize(
    "make",
    [
        *(functools.partial(lambda kind: loader(Noisy(Noise(kind))), kind) for kind in MAKERS),
        lambda: loader(Subset(Noisy(Noise("numpy"), Noise("python")), range(6))),
        lambda: loader(GloballyNoisy()),
        lambda: loader(NoisyStream(Noise("torch"))),
        lambda: loader(Noisy(), sampler=OwnOrder()),
        lambda: LoaderSource((Noisy(Noise("numpy")),)),
    ],
)
def test_passes_depend_on_the_seed_alone_whatever_generators_the_data_hold(make):
    source = make()
    first = read(source, 1)
    assert not same(first, read(source, 2))
    assert same(first, read(source, 1))
    assert same(first, read(make(), 1))


def test_a_copy_in_another_process_seeds_its_own_generators():
    source = loader(Noisy(Noise("numpy")))
    first = read(source, 1)
    copied = pickle.loads(pickle.dumps(source))
    read(copied, 2)
    assert same(first, read(copied, 1))


@pytest.mark.parametrize("kind", MAKERS)
def test_generators_are_as_they_were_after_reading(kind):
    transform = Noise(kind)
    read(loader(Noisy(transform)), 1)
    assert transform(0.0) == Noise(kind)(0.0)


def test_own_generators_are_found_where_code_keeps_them():
    closed, bound, held = (np.random.default_rng(number) for number in range(3))

    def closure(value):
        return value + closed.random()

    holder = Noise("numpy")
    holder.own = held
    found = own_generators([closure, functools.partial(max, bound)], {"deep": (holder.__call__,)}, random.random)
    assert [id(one) for one in found] == [id(closed), id(bound), id(held)]


def test_two_generators_of_one_kind_draw_different_numbers():
    first, second = np.random.default_rng(0), np.random.default_rng(0)
    with seeded([first, second], SeedTree(0)):
        assert first.random() != second.random()
    assert first.random() == second.random()
