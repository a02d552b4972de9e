"""Fill the cache from the first provider that delivers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evoprune.datasets.cache import DataCache
from evoprune.datasets.catalogue import ImageDataset
from evoprune.datasets.data_file import DataFile
from evoprune.datasets.providers import Provider, ProviderError
from evoprune.errors import DataError
from evoprune.events import DataProgress, Listener


def fetch_missing(dataset: ImageDataset, cache: DataCache, notify: Listener) -> None:
    """Fetch what the cache lacks; each provider is asked only for what the ones before it could not deliver.

    Raises:
        DataError: Files are still missing after the last provider, or the cache can't be written.
    """
    missing = _missing(dataset, cache)
    if not missing:
        return
    cache.check_writable()
    tried = [f"cache {cache.folder}: {len(missing)} of {len(dataset.files)} files missing or damaged"]
    for provider in dataset.providers:
        try:
            _fetch_from(provider, missing, cache, notify)
        except ProviderError as error:
            tried.append(f"{provider.name}: {error}")
        missing = _missing(dataset, cache)
        if not missing:
            return
    raise DataError(
        f"{dataset.title} can't be had; tried {'; '.join(tried)}",
        f"connect to a network, or put {', '.join(file.name for file in dataset.files)} (raw or .gz) in a folder and "
        "name it as data.dir",
    )


def _missing(dataset: ImageDataset, cache: DataCache) -> list[DataFile]:
    return [file for file in dataset.files if cache.read(file) is None]


def _fetch_from(provider: Provider, files: Sequence[DataFile], cache: DataCache, notify: Listener) -> None:
    for file, raw in provider.fetch(files, notify):
        try:
            file.parse(np.frombuffer(raw, dtype=np.uint8), file.name)
        except DataError as error:
            raise ProviderError(f"delivers a wrong file: {error.message}") from error
        cache.store(file, raw)
        notify(DataProgress(file.name, provider.name, file.size_bytes, file.size_bytes))
