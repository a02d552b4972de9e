"""A manifest that is kept in memory."""

from dataclasses import dataclass, field

from evoprune.store.manifest import Manifest


@dataclass
class Keeper:
    """What keeps decisions where there is no run directory."""

    manifest: Manifest = field(default_factory=Manifest)

    def update(self, manifest):
        self.manifest = manifest
