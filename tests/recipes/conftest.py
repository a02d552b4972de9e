"""The same data as in the tests of data sets."""

from tests.datasets.conftest import real_cifar, real_mnist, tiny, tiny_cifar  # noqa: F401 - fixtures
