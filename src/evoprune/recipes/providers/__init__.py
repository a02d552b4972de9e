"""Where data files can be fetched: one kind of place per file, all behind `Provider`."""

from evoprune.recipes.providers.archive import Archive
from evoprune.recipes.providers.base import Provider, ProviderError
from evoprune.recipes.providers.debian import DebianPackage
from evoprune.recipes.providers.mirror import Mirror
from evoprune.recipes.providers.npm import NpmPackage

__all__ = ["Archive", "DebianPackage", "Mirror", "NpmPackage", "Provider", "ProviderError"]
