import pickle

import pytest
import torch
from torch.nn import functional
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    random_split,
)

from evoprune.data.loaders import LoaderSource
from evoprune.data.task import Task, accuracy, as_source
from evoprune.data.tensors import Preprocessing, TensorSource
from evoprune.errors import ConfigError, DataError
from evoprune.metrics import MeanIoU
from evoprune.plugins import BUILT_IN
from evoprune.rng import isolated_rng

CPU = torch.device("cpu")
PREPROCESSING = Preprocessing(mean=(0.5, 0.25), std=(0.5, 0.2))


def tensor_source(count=10, indices=None):
    images = torch.arange(count * 2 * 3 * 3).remainder(256).to(torch.uint8).view(count, 2, 3, 3)
    return TensorSource(images, torch.arange(count), PREPROCESSING, indices)


def dataset(count=20):
    return TensorDataset(torch.arange(count).float().view(count, 1), torch.arange(count))


def labels(source, batch_size=4, seed=None):
    """Labels, which number the samples, batch by batch."""
    return [targets.tolist() for _, targets in source.batches(batch_size, device=CPU, seed=seed)]


def order(source, batch_size=4, seed=None):
    return [label for batch in labels(source, batch_size, seed) for label in batch]


def test_accuracy_is_the_correctness_of_each_sample():
    outputs = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert accuracy(outputs, torch.tensor([1, 1, 1])).tolist() == [True, False, True]
    assert accuracy(torch.zeros(2, 5, 4, 4), torch.zeros(2, 4, 4).long()).shape == (2, 4, 4)


def test_tensor_source_normalises_as_the_preprocessing_says():
    source = tensor_source()
    images, targets = next(source.batches(4, device=CPU))
    mean, std = (torch.tensor(values).view(1, 2, 1, 1) for values in (PREPROCESSING.mean, PREPROCESSING.std))
    torch.testing.assert_close(images, (source.images[:4] / 255 - mean) / std)
    assert images.dtype == torch.float32
    assert targets.tolist() == [0, 1, 2, 3]


def test_tensor_source_gives_every_row_once_in_an_order_that_the_seed_decides():
    source = tensor_source()
    with isolated_rng(1):
        shuffled = order(source, seed=5)
    assert labels(source) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert sorted(shuffled) == list(range(10))
    assert shuffled == order(source, batch_size=3, seed=5) != order(source, seed=6)


def test_tensor_source_keeps_to_its_rows():
    source = tensor_source(indices=torch.tensor([7, 2, 5]))
    assert len(source) == 3
    assert order(source) == [7, 2, 5]
    assert sorted(order(source, seed=1)) == [2, 5, 7]


def test_tensor_source_head_is_the_first_rows_even_when_shuffled():
    head = tensor_source(indices=torch.tensor([7, 2, 5])).head(2)
    assert (order(head), sorted(order(head, seed=3)), len(head)) == ([7, 2], [2, 7], 2)
    assert order(tensor_source().head(99)) == list(range(10))


def test_tensor_source_joins_sets_cut_from_the_same_images():
    whole = tensor_source()
    one, other = (TensorSource(whole.images, whole.labels, PREPROCESSING, torch.tensor(rows)) for rows in ([1, 2], [8]))
    assert order(one.joined(other)) == [1, 2, 8]


def test_tensor_source_joins_sets_of_two_tensors():
    one, other = tensor_source(indices=torch.tensor([1, 2])), tensor_source(12, indices=torch.tensor([11, 3]))
    both = one.joined(other)
    images, targets = next(both.batches(8, device=CPU))
    assert targets.tolist() == [1, 2, 11, 3]
    assert images[:2].equal(next(one.batches(8, device=CPU))[0])
    assert images[2:].equal(next(other.batches(8, device=CPU))[0])


@pytest.mark.parametrize(
    "other",
    [
        LoaderSource(([],)),
        TensorSource(torch.zeros(2, 2, 4, 3, dtype=torch.uint8), torch.zeros(2), PREPROCESSING),
        TensorSource(torch.zeros(2, 2, 3, 3, dtype=torch.uint8), torch.zeros(2), Preprocessing((0.5, 0.5), (1.0, 1.0))),
    ],
    ids=["loader", "other shape", "other preprocessing"],
)
def test_tensor_source_refuses_to_join_what_is_of_another_kind(other):
    with pytest.raises(DataError, match="one shape and preprocessing"):
        tensor_source().joined(other)


@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 1, 3, 3), torch.zeros(2, 3, dtype=torch.uint8), torch.zeros(3, 1, 3, 3, dtype=torch.uint8)],
)
def test_tensor_source_refuses_images_that_are_not_bytes_with_a_label_each(images):
    with pytest.raises(DataError, match=r"\[n, c, h, w\] uint8"):
        TensorSource(images, torch.zeros(2), PREPROCESSING)


@pytest.mark.parametrize(
    "sampler",
    [
        None,
        RandomSampler(dataset()),
        RandomSampler(dataset(), replacement=True, num_samples=12),
        SubsetRandomSampler([3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ],
    ids=["sequential", "random", "replacement", "subset"],
)
def test_loader_source_order_is_decided_by_the_seed_alone(sampler):
    source = as_source(DataLoader(dataset(), batch_size=4, sampler=sampler), "train")
    state = torch.get_rng_state()
    first = order(source, seed=1)
    unseeded = order(source)
    assert torch.get_rng_state().equal(state)
    with isolated_rng(5):
        assert (order(source, seed=1), order(source)) == (first, unseeded)
    assert (order(source, seed=2) != first) == (sampler is not None)


def test_loader_source_reads_a_shuffling_loader_in_order_without_a_seed():
    source = as_source(DataLoader(dataset(10), batch_size=4, shuffle=True, drop_last=True), "train")
    assert labels(source) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [len(batch) for batch in labels(source, seed=1)] == [4, 4]
    assert order(source, seed=1) != order(source)


def test_loader_source_keeps_the_loader_as_the_user_made_it():
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(dataset(), batch_size=4, shuffle=True, generator=generator)
    state = generator.get_state()
    order(as_source(loader, "train"), seed=1)
    assert loader.generator is generator
    assert generator.get_state().equal(state)


def test_loader_source_reads_a_list_of_batches_as_it_comes():
    batches = [(torch.zeros(2, 1), torch.tensor([4, 2])), (torch.zeros(1, 1), torch.tensor([7]))]
    source = as_source(batches, "select")
    assert (len(source), order(source), order(source, seed=1)) == (3, [4, 2, 7], [4, 2, 7])
    assert order(source.head(1)) == [4]


def test_loader_source_cuts_inputs_of_any_structure():
    inputs = {"pixels": torch.zeros(3, 2), "pair": (torch.arange(3), [torch.ones(3)]), "name": "x"}
    source = as_source([(inputs, torch.arange(3))], "train").head(2)
    ((cut, targets),) = source.batches(8, device=CPU)
    assert cut["pixels"].shape == (2, 2)
    assert (cut["pair"][0].tolist(), cut["pair"][1][0].tolist(), cut["name"]) == ([0, 1], [1, 1], "x")
    assert targets.tolist() == [0, 1]


def test_loader_source_head_is_the_same_samples_at_every_call():
    source = as_source(DataLoader(dataset(), batch_size=4, shuffle=True), "select").head(6)
    assert (len(source), labels(source), labels(source)) == (6, [[0, 1, 2, 3], [4, 5]], [[0, 1, 2, 3], [4, 5]])


def test_loader_source_joins_loaders_one_after_the_other():
    first, second = (as_source(DataLoader(part, batch_size=2), "x") for part in (dataset(3), dataset(2)))
    both = first.joined(second)
    assert (len(both), order(both)) == (5, [0, 1, 2, 0, 1])
    with pytest.raises(DataError, match="another loader"):
        first.joined(tensor_source())


class Stream(IterableDataset):
    def __init__(self):
        self.reads = 0

    def __iter__(self):
        self.reads += 1
        return iter([(torch.zeros(1), 0), (torch.zeros(1), 1), (torch.zeros(1), 2)])


def test_loader_source_reads_a_stream_once_a_pass():
    stream = Stream()
    source = as_source(DataLoader(stream, batch_size=2), "train")
    stream.reads = 0
    assert labels(source, seed=1) == [[0, 1], [2]]
    assert stream.reads == 1
    assert len(source) == 3


class Batched(Dataset):
    """A data set of whole batches, for a loader that makes none."""

    def __len__(self):
        return 2

    def __getitem__(self, number):
        if number >= 2:
            raise IndexError
        return torch.zeros(5, 1), torch.full((5,), number)


@pytest.mark.parametrize(
    ("loader", "samples"),
    [
        (DataLoader(dataset(), sampler=SubsetRandomSampler([1, 2, 3])), 3),
        (DataLoader(dataset(), batch_size=8, drop_last=True), 20),
        (DataLoader(Batched(), batch_size=None), 10),
        (DataLoader(dataset(), batch_sampler=[[0, 1], [2, 3, 4]]), 5),
    ],
    ids=["subset sampler", "drop last", "whole batches", "batch sampler"],
)
def test_loader_source_counts_samples(loader, samples):
    assert len(as_source(loader, "train")) == samples


def subset(data, *rows):
    return DataLoader(Subset(data, list(rows)), batch_size=2)


DATA = dataset()
WHOLE = tensor_source()
TEST = [(torch.zeros(1, 1), torch.zeros(1))]
BATCHES = [(torch.zeros(2, 1), torch.zeros(2))]


def cut(*rows):
    return TensorSource(WHOLE.images, WHOLE.labels, PREPROCESSING, torch.tensor(rows))


OVERLAPPING = {
    "rows of one tensor": (cut(1, 2, 3), cut(3, 4)),
    "all rows and some": (WHOLE, cut(3, 4)),
    "one list": (BATCHES, BATCHES),
    "one data set": (DataLoader(DATA), DataLoader(DATA, shuffle=True)),
    "subsets": (subset(DATA, 1, 2), subset(DATA, 2, 3)),
    "subset of whole": (subset(DATA, 1, 2), DataLoader(DATA)),
    "subsets by tensors": (subset(DATA, *torch.tensor([1, 2])), subset(DATA, *torch.tensor([2, 3]))),
    "nested subsets": (subset(Subset(DATA, [5, 6, 7]), 0, 1), subset(DATA, 6)),
    "samplers": (
        DataLoader(DATA, sampler=SubsetRandomSampler([1, 2])),
        DataLoader(DATA, sampler=SubsetRandomSampler([2, 3])),
    ),
}
DISJOINT = {
    "rows of one tensor": (cut(1, 2), cut(3, 4)),
    "two tensors": (cut(1, 2), tensor_source()),
    "two lists": (BATCHES, list(BATCHES)),
    "subsets": (subset(DATA, 1, 2), subset(DATA, 3, 4)),
    "nested subsets": (subset(Subset(DATA, [5, 6, 7]), 0, 1), subset(Subset(DATA, [5, 6, 7]), 2)),
    "samplers": (
        DataLoader(DATA, sampler=SubsetRandomSampler([1, 2])),
        DataLoader(DATA, sampler=SubsetRandomSampler([3, 4])),
    ),
    "a loader and a tensor": (DataLoader(DATA), WHOLE),
}


@pytest.mark.parametrize("pair", OVERLAPPING.values(), ids=OVERLAPPING)
def test_task_refuses_sets_that_share_samples(pair):
    one, other = pair
    with pytest.raises(DataError, match="train and val sets share samples"):
        Task(train=one, val=other, test=TEST)
    with pytest.raises(DataError, match="train and test sets share samples"):
        Task(train=other, val=TEST, test=one)


@pytest.mark.parametrize("pair", DISJOINT.values(), ids=DISJOINT)
def test_task_takes_sets_that_share_nothing(pair):
    train, test = pair
    select = cut(9) if isinstance(train, TensorSource) else list(BATCHES)
    task = Task(train=train, val=select, test=test, class_names=["a"])
    assert len(task.train) > 0
    assert task.class_names == ("a",)


def test_task_refuses_sets_that_can_not_be_joined_before_anything_is_computed():
    with pytest.raises(DataError, match="joined"):
        Task(train=WHOLE, val=BATCHES, test=TEST)
    with pytest.raises(DataError, match="joined"):
        Task(train=BATCHES, val=WHOLE, test=TEST)


def test_task_travels_between_processes_whole():
    task = pickle.loads(pickle.dumps(Task(train=cut(1, 2), val=cut(3), test=TEST)))
    assert order(task.train.joined(task.select)) == [1, 2, 3]
    assert (task.loss, task.metric) == (functional.cross_entropy, accuracy)


def test_task_takes_the_parts_of_a_random_split():
    parts = random_split(DATA, [0.5, 0.25, 0.25], generator=torch.Generator().manual_seed(0))
    task = Task(*(DataLoader(part, batch_size=4) for part in parts))
    assert [len(one) for one in (task.train, task.select, task.test)] == [10, 5, 5]


@pytest.mark.parametrize("data", [iter(BATCHES), (batch for batch in BATCHES), zip([1], [2], strict=True)])
def test_task_refuses_what_can_be_read_only_once(data):
    with pytest.raises(DataError, match=r"val set can be read only once.*DataLoader"):
        Task(train=BATCHES, val=data, test=WHOLE)


@pytest.mark.parametrize("data", [None, 3, "data/", torch.zeros(4, 3)])
def test_task_refuses_what_is_no_set_of_batches(data):
    with pytest.raises(DataError, match=f"train set must be an iterable.*{type(data).__name__}"):
        Task(train=data, val=BATCHES, test=WHOLE)


@pytest.mark.parametrize("data", [[], cut().head(0), DataLoader([]), DataLoader(Subset(DATA, []))])
def test_task_refuses_an_empty_set(data):
    with pytest.raises(DataError, match="test set is empty"):
        Task(train=BATCHES, val=list(BATCHES), test=data)


def test_batch_count_is_that_of_a_pass():
    assert tensor_source().batch_count(4) == len(labels(tensor_source())) == 3
    loader = LoaderSource((DataLoader(dataset(), batch_size=8), [(torch.zeros(2, 1), torch.zeros(2))]))
    assert loader.batch_count(4) == 4


@pytest.mark.parametrize("batch", [torch.zeros(3), (torch.zeros(2),), (torch.zeros(2), 1), "ab", 5])
def test_loader_source_refuses_batches_that_are_no_pairs(batch):
    with pytest.raises(DataError, match="pairs"):
        list(LoaderSource(([batch],)).batches(4, device=CPU))


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (0.5, 0.2)), ((0.5, 0.2), (0.5, 0.0)), ((0.5, 0.2), (0.5, -1.0))])
def test_tensor_source_refuses_preprocessing_that_does_not_fit(mean, std):
    with pytest.raises(DataError, match="preprocessing"):
        TensorSource(torch.zeros(4, 2, 3, 3, dtype=torch.uint8), torch.zeros(4), Preprocessing(mean, std))


@pytest.mark.parametrize("name", sorted(BUILT_IN["metrics"]))
def test_task_takes_a_metric_by_name(name):
    task = Task(BATCHES, list(BATCHES), TEST, metric=name)
    assert task.card.key == name
    assert pickle.loads(pickle.dumps(task)).card == task.card


@pytest.mark.parametrize(("metric", "said"), [(3, "metric is a int"), (MeanIoU, r"MeanIoU is a class.*MeanIoU\(")])
def test_task_refuses_what_is_no_metric(metric, said):
    with pytest.raises(DataError, match=said):
        Task(BATCHES, list(BATCHES), TEST, metric=metric)


def test_task_says_which_metrics_there_are():
    with pytest.raises(ConfigError, match="'mean_io' is not one of the metrics: mean_iou, accuracy"):
        Task(BATCHES, list(BATCHES), TEST, metric="mean_io")


def test_task_fits_its_metric_to_its_loss():
    loss = torch.nn.CrossEntropyLoss(ignore_index=0)
    assert Task(BATCHES, list(BATCHES), TEST, loss=loss).metric.ignore_index == 0
    assert Task(BATCHES, list(BATCHES), TEST, loss=loss, metric="negative_loss").metric.loss is loss


def test_select_is_taken_for_val_and_warned_about():
    with pytest.warns(FutureWarning, match=r"select=\.\.\.\) is the old name of Task\(val="):
        task = Task(train=cut(1, 2), select=cut(3), test=TEST)
    assert task.val is task.select
    assert len(task.val) == len(Task(cut(1, 2), cut(3), TEST).val)


def test_val_under_both_names_or_under_none_is_refused():
    with pytest.raises(DataError, match="two names of one set"):
        Task(train=cut(1, 2), val=cut(3), select=cut(3), test=TEST)
    with pytest.raises(DataError, match="the val set must be an iterable"):
        Task(train=cut(1, 2), test=TEST)
