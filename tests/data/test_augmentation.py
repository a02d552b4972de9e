from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from evoprune.data.augmentation import Augmentation
from evoprune.data.tensors import Preprocessing, TensorSource
from evoprune.errors import DataError

CPU = torch.device("cpu")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count, channels=3, height=6, width=8):
    return torch.randint(1, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator(9))


def source(count=40, augmentation=None):
    return TensorSource(
        noise(count), torch.arange(count), Preprocessing((0.0,) * 3, (1.0,) * 3), augmentation=augmentation
    )


def passed(data, batch_size=16, seed=3):
    batches = list(data.batches(batch_size, device=CPU, seed=seed))
    return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))


@given(padding=st.integers(0, 3), flip=st.booleans(), channels=st.integers(1, 4), seed=st.integers(0, 99))
def test_apply_gives_the_drawn_window_of_each_padded_image(padding, flip, channels, seed):
    augmentation, images = Augmentation(padding, flip), noise(7, channels)
    drawn = augmentation.draw(7, generator(seed))
    padded = functional.pad(images, [padding] * 4)
    for made, whole, (top, left, mirrored) in zip(
        augmentation.apply(images, drawn), padded, drawn.tolist(), strict=True
    ):
        window = whole[:, top : top + 6, left : left + 8]
        assert torch.equal(made, window.flip(2) if mirrored else window)


def test_draw_reaches_every_corner_and_mirrors_half_of_the_images():
    drawn = Augmentation(padding=4, flip=True).draw(10_000, generator())
    counts = torch.bincount(drawn[:, 0] * 9 + drawn[:, 1])
    assert len(counts) == 81
    assert counts.min() > 60
    assert drawn[:, 2].float().mean().item() == pytest.approx(0.5, abs=0.02)


def test_draw_mirrors_nothing_without_flip():
    drawn = Augmentation(padding=2).draw(1_000, generator())
    assert drawn[:, 2].sum() == 0


def test_negative_padding_is_refused():
    with pytest.raises(DataError, match="padding is -1, 0 or more"):
        Augmentation(padding=-1)


def test_shuffled_passes_are_the_same_for_a_seed_and_differ_between_seeds():
    data = source(augmentation=Augmentation(2, flip=True))
    (first, labels), (again, same), (other, _) = passed(data), passed(data), passed(data, seed=4)
    assert first.equal(again)
    assert labels.equal(same)
    assert not first.equal(other)


def test_shuffled_passes_do_not_depend_on_the_batch_size():
    data = source(augmentation=Augmentation(2, flip=True))
    assert passed(data, 16)[0].equal(passed(data, 7)[0])


def test_passes_without_a_seed_and_without_augmentation_are_left_alone():
    plain, augmented = source(), source(augmentation=Augmentation(2, flip=True))
    assert passed(plain, seed=None)[0].equal(passed(augmented, seed=None)[0])
    assert passed(plain)[1].equal(passed(augmented)[1])
    assert not passed(plain)[0].equal(passed(augmented)[0])


@pytest.mark.parametrize("augmentation", [None, Augmentation(0, flip=False)])
def test_batches_are_plain_and_normalised_augmented_or_not(augmentation):
    data = replace(source(augmentation=augmentation), preprocessing=Preprocessing((0.5,) * 3, (0.25,) * 3))
    images, labels = next(data.batches(16, device=CPU, seed=1))
    assert images.is_contiguous()
    torch.testing.assert_close(images, (data.images[labels].float() / 255 - 0.5) / 0.25)


def test_joined_sets_are_augmented_as_the_first_one():
    data = source(augmentation=Augmentation(2, flip=True))
    assert data.joined(source()).augmentation == data.augmentation
    assert source().joined(data).augmentation is None
