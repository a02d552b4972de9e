"""Bytes that every worker fetches once, over a local socket.

They do not travel among the arguments of a new process: its parent holds both ends of that pipe, so that a process which dies
before it has read them (a script without `if __name__ == "__main__":`, a kill) would leave the parent blocked for ever.
"""

from __future__ import annotations

from multiprocessing import AuthenticationError, current_process
from multiprocessing.connection import Client, Listener
from threading import Thread
from typing import Any


class Payload:
    """Hands its content to whoever asks at its address, until it is closed.

    Args:
        content: Bytes to hand out.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._closed = False
        self._listener = Listener(authkey=current_process().authkey)
        self.address: Any = self._listener.address
        self._thread = Thread(target=self._serve, name="payload", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop handing out. Idempotent."""
        self._closed = True
        while self._thread.is_alive():
            # The thread looks up only when somebody comes. Without a key there is no handshake to wait for: it may have left
            # between the question and the knock.
            Client(self.address).close()
            self._thread.join(timeout=0.1)
        self._listener.close()

    def _serve(self) -> None:
        while not self._closed:
            try:
                with self._listener.accept() as connection:
                    connection.send_bytes(self._content)
            except (OSError, EOFError, AuthenticationError):
                continue  # that worker is gone, or it was a knock; the next one may come


def fetch(address: Any) -> bytes:
    """The content of the payload at `address`, from this process or one that it started."""
    with Client(address, authkey=current_process().authkey) as connection:
        return connection.recv_bytes()
