"""Where the worker processes of one machine may run: so many on each device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from evoprune.errors import ConfigError

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


class DeviceSlots:
    """Slots for workers, shared out evenly among devices; each worker takes one and sees that device alone.

    Args:
        workers: Number of slots, at least 1.
        devices: CUDA's names of the devices (see `cuda_names`); none: all workers see what this process sees.
    """

    def __init__(self, workers: int, devices: Sequence[str] = ()) -> None:
        self._names = list(devices)
        count = max(1, len(devices))
        self._room = [workers // count + (device < workers % count) for device in range(count)]
        self._taken = [0] * count

    @property
    def total(self) -> int:
        """Workers that there is room for."""
        return sum(self._room)

    def take(self) -> int | None:
        """A slot on the device with the fewest workers that has room, the first of equals; None when all are taken."""
        free = [device for device, room in enumerate(self._room) if self._taken[device] < room]
        if not free:
            return None
        device = min(free, key=lambda one: self._taken[one])
        self._taken[device] += 1
        return device

    def leave(self, device: int) -> None:
        """Give a slot back."""
        self._taken[device] -= 1

    def can_shrink(self, device: int) -> bool:
        """Whether more than one worker may be on the device."""
        return self._room[device] > 1

    def shrink(self, device: int) -> None:
        """Have one slot fewer on the device from now on."""
        self._room[device] -= 1

    def environment(self, device: int) -> Mapping[str, str]:
        """What a worker that took this slot has to see, before it imports torch."""
        return {VISIBLE: self._names[device]} if self._names else {}


def cuda_names(wanted: Sequence[int] | None, count: int, visible: str | None) -> tuple[str, ...]:
    """What a process that is to see one device alone has to be told, for each of them.

    Args:
        wanted: Indices as torch counts them here; None for all.
        count: Number of devices that torch sees here.
        visible: CUDA_VISIBLE_DEVICES here, whose entries may be indices of another count, or names; None where it isn't set.

    Raises:
        ConfigError: There is no such device.
    """
    missing = [index for index in wanted or () if index >= count]
    if missing:
        raise ConfigError(
            f"execution.devices names {', '.join(map(str, missing))}, but torch sees {count} CUDA devices, counted from 0",
            "use auto for all of them",
        )
    names = [name.strip() for name in visible.split(",")] if visible else [str(index) for index in range(count)]
    return tuple(names[index] for index in (range(count) if wanted is None else wanted))
