"""Where data files can be fetched: one kind of place per file, all behind `Provider`."""

from evoprune.datasets.providers.archive import Archive
from evoprune.datasets.providers.base import Provider, ProviderError
from evoprune.datasets.providers.debian import DebianPackage
from evoprune.datasets.providers.mirror import Mirror
from evoprune.datasets.providers.npm import NpmPackage

__all__ = ["Archive", "DebianPackage", "Mirror", "NpmPackage", "Provider", "ProviderError"]
