"""A disk that fills in mid-run: a clear error, and the same result once there is room again."""

import errno
import json
import os
import subprocess
import sys

import pytest

from evoprune.errors import RunError
from evoprune.run.factories.runs import execute
from evoprune.store.atomic import append_line, open_lines, write_atomically

FILES = ("evaluations.jsonl", "artifact/model.safetensors", "artifact/plan.json", "artifact/model.json")


class Disk:
    """Has room for so many synced writes, and for half of the bytes after them."""

    def __init__(self, monkeypatch, room):
        self.room, self._fsync, self._write = room, os.fsync, os.write
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "write", self.write)

    def fsync(self, handle):
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._fsync(handle)

    def write(self, handle, content):
        if self.room < 1:
            if len(content) < 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            content = content[: len(content) // 2]
        return self._write(handle, content)


def contents(directory):
    return {name: (directory / name).read_bytes() for name in FILES}


def durable_writes(run):
    """How often a whole run syncs, once its baseline is in the cache."""
    run("first")
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, 10_000)
        run("counted")
    return 10_000 - disk.room


@pytest.fixture
def run(tmp_path, small_config, tiny_source):
    def start(name):
        execute(small_config(), tiny_source, tmp_path / name)
        return tmp_path / name

    return start


def check(run, tmp_path, room):
    name = f"full-{room}"
    with pytest.MonkeyPatch.context() as patch:
        Disk(patch, room)
        with pytest.raises(RunError, match=r"can't write to .*: No space left on device; make room"):
            run(name)
    for line in (tmp_path / name / "events.jsonl").read_text().splitlines():
        json.loads(line)
    assert not [path.name for path in (tmp_path / name).rglob(".*") if path.name != ".lock"]
    return run(name)


@pytest.mark.slow
def test_run_goes_on_to_the_same_end_when_the_disk_was_full(run, tmp_path):
    last = durable_writes(run)
    whole = contents(tmp_path / "counted")
    for room in (last // 3, 2 * last // 3, last - 1):
        assert contents(check(run, tmp_path, room)) == whole


@pytest.mark.slow
def test_run_goes_on_to_the_same_end_whenever_the_disk_was_full(run, tmp_path):
    last = durable_writes(run)
    whole = contents(tmp_path / "counted")
    for room in range(3, last):
        assert contents(check(run, tmp_path, room)) == whole, f"full after {room} of {last} writes"


@pytest.mark.parametrize("part", [0, 7])
def test_append_line_leaves_no_part_of_a_line_behind(tmp_path, monkeypatch, part):
    path, write = tmp_path / "lines", os.write
    with open_lines(path) as file:
        append_line(file, "whole", sync=True)

        def fail_half_way(handle, content):
            monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
            return write(handle, content[:part])

        monkeypatch.setattr(os, "write", fail_half_way)
        with pytest.raises(OSError, match="full"):
            append_line(file, "a line with no room", sync=True)
        assert path.read_text() == "whole\n"
        monkeypatch.setattr(os, "write", write)
        append_line(file, "next", sync=True)
    assert path.read_text() == "whole\nnext\n"


@pytest.mark.parametrize(("content", "kept"), [("", ""), ("a\nb\n", "a\nb\n"), ("a\nb", "a\n"), ("torn", "")])
def test_open_lines_drops_a_torn_last_line(tmp_path, content, kept):
    path = tmp_path / "lines"
    path.write_text(content)
    with open_lines(path) as file:
        append_line(file, "new", sync=False)
    assert path.read_text() == f"{kept}new\n"


def test_write_atomically_keeps_the_old_file_when_there_is_no_room(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    Disk(monkeypatch, 0)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208 - hidden ones as well


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 320 kB, where one can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320k", "none", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("mounting a file system takes rights that are not there")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs")
def test_command_says_what_to_do_when_the_disk_is_full_and_resume_ends_the_run(small_disk, run, small_config, tmp_path):
    (tmp_path / "mine.yaml").write_text(small_config().to_yaml())
    ballast = small_disk / "ballast"
    code = "from evoprune.cli.app import main; main()"

    def command(*arguments):
        return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)

    ballast.write_bytes(bytes(1024 * 298))
    assert "No space left on device" in command("run", tmp_path / "mine.yaml", "--out", small_disk / "run").stderr
    for kilobytes in (288, 272, 256):
        ballast.write_bytes(bytes(1024 * kilobytes))
        stopped = command("run", tmp_path / "mine.yaml", "--out", small_disk / "run")
        first, *hints = stopped.stderr.splitlines()
        assert stopped.returncode == 1
        assert first.startswith("error: can't write to")
        assert "No space left on device" in first
        assert hints == [f"hint: go on with: evoprune resume {small_disk / 'run'}"]
    ballast.unlink()
    assert command("resume", small_disk / "run").returncode == 0
    assert contents(small_disk / "run") == contents(run("whole"))
