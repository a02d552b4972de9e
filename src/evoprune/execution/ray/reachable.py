"""Whether somebody listens at an address, found out in seconds."""

from __future__ import annotations

import socket
from typing import Final

from evoprune.errors import UsageError

_CONNECT_S: Final = 10.0


def check_reachable(address: str) -> None:
    """Fail soon where Ray takes a minute and a half; `auto` can't be looked up and passes.

    Raises:
        UsageError: Nobody listens at `address`, which is `host:port` or `ray://host:port`.
    """
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise UsageError(
            f"there is no Ray cluster at {address}: {error}",
            "`ray start --head` prints the address",
        ) from error
