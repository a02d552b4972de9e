"""How wide the networks of a run of channels are, group by group: `widths.json`, for people; nothing is ever replayed from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evoprune.store.atomic import read_json

WIDTHS: Final = "widths.json"


@dataclass(frozen=True)
class GroupSize:
    """A group of the dense network.

    Attributes:
        name: Name of the group.
        size: Number of units.
        layers: Layers whose outputs the units are.
    """

    name: str
    size: int
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class NetworkWidths:
    """What one genome keeps.

    Attributes:
        widths: Units that each group keeps, in the order of the groups.
        criteria: Name of the criterion that chooses the units of each group; empty where the encoding has none.
    """

    widths: tuple[int, ...]
    criteria: tuple[str, ...] = ()


@dataclass(frozen=True)
class Widths:
    """Widths of the networks that a report shows.

    Attributes:
        groups: Groups in the order of the pruning space; those that the run leaves whole are among them.
        networks: By the digest of the genome.
        frozen: Why layers can't be pruned, by their names.
    """

    groups: tuple[GroupSize, ...]
    networks: Mapping[str, NetworkWidths]
    frozen: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The document of `widths.json`."""
        names = sorted({name for one in self.networks.values() for name in one.criteria})
        return {
            "groups": [{"name": one.name, "size": one.size, "layers": list(one.layers)} for one in self.groups],
            "criteria": names,
            "networks": {
                genome: {"widths": list(one.widths), "criteria": [names.index(name) for name in one.criteria]}
                for genome, one in self.networks.items()
            },
            "frozen": dict(self.frozen),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Widths:
        """Read what `to_json` wrote.

        Raises:
            LookupError: Something is missing.
            TypeError: Something is of another kind.
            ValueError: A width can't be one.
        """
        groups = tuple(
            GroupSize(str(one["name"]), int(one["size"]), tuple(map(str, one["layers"]))) for one in document["groups"]
        )
        names = list(map(str, document["criteria"]))
        networks = {str(genome): _network(one, groups, names) for genome, one in dict(document["networks"]).items()}
        frozen = {str(name): str(reason) for name, reason in dict(document["frozen"]).items()}
        return cls(groups, networks, frozen)


def _network(document: Mapping[str, Any], groups: tuple[GroupSize, ...], names: list[str]) -> NetworkWidths:
    widths = tuple(map(int, document["widths"]))
    criteria = tuple(names[number] for number in document["criteria"])
    if len(widths) != len(groups) or not all(
        0 < width <= group.size for width, group in zip(widths, groups, strict=True)
    ):
        raise ValueError("widths are not those of the groups")
    if criteria and len(criteria) != len(groups):
        raise ValueError("criteria are not those of the groups")
    return NetworkWidths(widths, criteria)


def read_widths(directory: Path) -> Widths | None:
    """The widths of a run's networks; None where the run has none, as those of masks and of older versions.

    Raises:
        StoreCorruptedError: The file is no JSON.
        LookupError: Something is missing in it.
        TypeError: Something is of another kind.
        ValueError: A width can't be one.
    """
    path = directory / WIDTHS
    return Widths.from_json(read_json(path)) if path.is_file() else None
