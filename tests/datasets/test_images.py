from pathlib import Path

import numpy as np
import pytest
import torch

from evoprune.datasets.images import image_task, load_images, split_rows
from evoprune.errors import DataError

CPU = torch.device("cpu")


def test_split_rows_shares_out_every_row_once_when_split_as_mnist_is():
    train, select = split_rows(60_000, select_size=6_000, seed=0)
    assert (len(train), len(select)) == (54_000, 6_000)
    assert torch.cat([train, select]).sort().values.equal(torch.arange(60_000))


def test_split_rows_depends_on_its_seed_alone():
    first = split_rows(1_000, select_size=100, seed=1)
    torch.rand(3, generator=torch.Generator())
    again, other = split_rows(1_000, select_size=100, seed=1), split_rows(1_000, select_size=100, seed=2)
    assert all(one.equal(two) for one, two in zip(first, again, strict=True))
    assert not first[1].equal(other[1])


def test_split_rows_is_the_same_on_every_machine():
    assert split_rows(60_000, select_size=6_000, seed=0)[1][:5].tolist() == [4013, 23840, 29603, 43011, 58703]


@pytest.mark.parametrize("size", [-1, 0, 1_000])
def test_split_rows_names_the_range_when_nothing_would_be_left(size: int):
    with pytest.raises(DataError, match=f"select_size is {size}, 1 to 999 accepted"):
        split_rows(1_000, select_size=size, seed=0)


def test_load_images_fills_the_cache_once_and_reads_it_afterwards(tiny):
    first = load_images("tiny")
    tiny.dataset.providers[0].asked.clear()
    again = load_images("tiny")
    assert tiny.dataset.providers[0].asked == []
    assert first.train_images.equal(again.train_images)


def test_load_images_gives_bytes_and_long_labels(tiny):
    data = load_images("tiny")
    assert (data.train_images.dtype, tuple(data.train_images.shape)) == (torch.uint8, (20, 1, 4, 4))
    assert (data.test_labels.dtype, tuple(data.test_labels.shape)) == (torch.int64, (8,))
    assert data.test_images.numpy().tobytes() == tiny.contents["t10k-images-idx3-ubyte"][16:]


def test_load_images_reads_the_users_folder_alone_when_one_is_named(tiny, tmp_path: Path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, contents in tiny.contents.items():
        (folder / name).write_bytes(contents)
    assert len(load_images("tiny", directory=folder).train_labels) == 20
    assert tiny.dataset.providers[0].asked == []
    assert not tiny.cache.folder.exists()


def test_load_images_does_not_go_elsewhere_when_the_users_folder_lacks_a_file(tiny, tmp_path: Path):
    with pytest.raises(DataError, match="has no train-images-idx3-ubyte"):
        load_images("tiny", directory=tmp_path)
    assert tiny.dataset.providers[0].asked == []


def test_load_images_lists_the_known_names_when_asked_for_another():
    with pytest.raises(DataError, match="mnist, fashion-mnist"):
        load_images("imagenet")


def test_image_task_sets_do_not_overlap_and_cover_the_training_images(tiny):
    task = image_task(load_images("tiny"), select_size=5, seed=3)
    assert (len(task.train), len(task.select), len(task.test)) == (15, 5, 8)
    assert task.train.joined(task.select).rows.sort().values.equal(torch.arange(20))


def test_image_task_normalises_batches(tiny):
    data = load_images("tiny")
    images, labels = next(image_task(data, select_size=5, seed=3).test.batches(8, device=CPU))
    torch.testing.assert_close(images, (data.test_images.float() / 255 - 0.5) / 0.5)
    assert labels.equal(data.test_labels)


def test_catalogue_mean_and_deviation_are_those_of_the_training_images(real_mnist):
    pixels = real_mnist.train_images.numpy()
    assert np.mean(pixels) / 255 == pytest.approx(real_mnist.preprocessing.mean[0], abs=1e-4)
    assert np.std(pixels) / 255 == pytest.approx(real_mnist.preprocessing.std[0], abs=1e-4)
