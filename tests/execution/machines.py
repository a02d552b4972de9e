"""A Ray cluster of several "machines" on this one, each with an address, a folder, a temporary directory of its own.

Their Python has what evoprune needs, but not evoprune: its code has to reach them as it reaches a cluster. Their addresses are
on the loopback; as Ray listens at all addresses of this machine nevertheless, it asks everybody for a token.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

from tests.execution.processes import command, descendants, wait_until

# Ends with pytest, however that ends. Ray's own children follow.
RAY = "import ctypes; ctypes.CDLL(None).prctl(1, 9); from ray.scripts.scripts import main; main()"
STORE_BYTES = 100 * 2**20


@dataclass(frozen=True)
class Machine:
    """A node: the process that started it, and where."""

    process: subprocess.Popen
    folder: Path

    def workers(self):
        """Ids of evoprune's workers there."""
        return {pid for pid in descendants(self.process.pid) if command(pid).startswith("ray::Worker")}

    def is_up(self):
        return "Ray runtime started" in (self.folder / "log").read_text()

    def lose(self):
        """As if it had lost power."""
        for pid in sorted({self.process.pid, *descendants(self.process.pid)}):  # who could tell of the others first
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


class Machines:
    """A head without room for workers, where runs are started, and machines that tests add."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ray"))  # the names of Ray's sockets must be short
        self.token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._python = _python_without_evoprune(self.folder / "env")
        self._number = 1
        with socket.socket() as free:
            free.bind(("127.0.0.2", 0))
            self.address = f"127.0.0.2:{free.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        self.head = self._start("--head", f"--port={port}", "--include-dashboard=false", "--num-cpus=0")
        wait_until(self.head.is_up)

    def add(self):
        """One more, with room for a worker."""
        machine = self._start(f"--address={self.address}", "--num-cpus=1")
        wait_until(machine.is_up)
        return machine

    def close(self):
        for machine in self.machines:
            machine.lose()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *options):
        self._number += 1
        folder = self.folder / str(self._number)
        folder.mkdir()
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [
                    self._python, "-c", RAY, "start", "--block", "--disable-usage-stats", *options,
                    f"--node-ip-address=127.0.0.{self._number}", f"--temp-dir={folder}",
                    f"--object-store-memory={STORE_BYTES}", "--min-worker-port=0", "--max-worker-port=0",
                    "--dashboard-agent-listen-port=0",
                ],
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**_environment(), **self.token, "HOME": str(folder)},
            )  # fmt: skip
        self.machines = [*getattr(self, "machines", []), Machine(process, folder)]
        return self.machines[-1]


def _python_without_evoprune(folder):
    """An environment that finds what is installed in this one, but not what is installed in editable mode."""
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    python = folder / "bin" / "python"
    found = subprocess.run(
        [python, "-c", "import evoprune"], check=False, capture_output=True, text=True, cwd=folder, env=_environment()
    )
    assert "No module named 'evoprune'" in found.stderr
    return str(python)


def _environment():
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
