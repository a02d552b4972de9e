import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from evoprune.data.collated import samples_left
from evoprune.data.loaders import LoaderSource
from evoprune.objectives.accuracy import score

CPU = torch.device("cpu")


class Numbers(Dataset):
    def __len__(self):
        return 22

    def __getitem__(self, number):
        return torch.full((3,), float(number)), number


class Stream(IterableDataset):
    def __iter__(self):
        return (Numbers()[number] for number in range(22))


def kept(samples):
    return [sample for sample in samples if sample[1] % 8 not in (0, 3)]


def without_some(samples):
    return default_collate(kept(samples))


def lists_without_some(samples):
    return tuple(map(list, zip(*kept(samples), strict=True)))


def numbers_mean(_, targets):
    return torch.as_tensor(targets).float().mean()


@pytest.mark.parametrize("collate", [without_some, lists_without_some])
@pytest.mark.parametrize("data", [Numbers, Stream])
def test_means_are_weighted_by_the_samples_that_a_collate_fn_left(data, collate):
    source = LoaderSource((DataLoader(data(), batch_size=7, collate_fn=collate),))
    model = torch.nn.Identity()
    left = [number for number in range(22) if number % 8 not in (0, 3)]
    value = score(model, source, numbers_mean, device=CPU, batch_size=7)
    assert value == pytest.approx(sum(left) / len(left), rel=1e-6)


def test_single_samples_are_cut_from_what_a_collate_fn_left():
    source = LoaderSource((DataLoader(Numbers(), batch_size=7, collate_fn=without_some),))
    for batch in source.batches(1, device=CPU):
        singles = [batch.part(place, place + 1) for place in range(batch.samples)]
        assert [int(targets) for _, targets in singles] == batch[1].tolist()


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        (torch.zeros(8, 3, 4, 4), torch.zeros(5, 6)),  # boxes of all images in one tensor
        (torch.zeros(40, 8, 3), torch.zeros(8)),  # time first
        (torch.zeros(24, 3), torch.zeros(24)),  # three crops of each
        ([torch.zeros(3, 4, 5)] * 8, [{"boxes": torch.zeros(2, 4)}] * 8),
    ],
)
def test_samples_left_are_those_given_where_nothing_says_that_some_were_dropped(inputs, targets):
    assert samples_left(inputs, targets, 8) == 8


def test_samples_left_are_counted_along_the_dimension_that_the_user_names():
    assert samples_left(torch.zeros(40, 5, 3), torch.zeros(5), 8, batch_dim=1) == 5
