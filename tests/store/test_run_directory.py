import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from evoprune.errors import ReplayMismatchError, StoreCorruptedError, UsageError
from evoprune.store.claim import LOCK, MANIFEST
from evoprune.store.manifest import DONE
from evoprune.store.run_directory import CONFIG, JOURNAL, RunStore

IDENTITY = {"ga": {"pop_size": 4}, "run": {"seed": 0}}
HOLD = """
import sys, time
from pathlib import Path
from evoprune.store.run_directory import RunStore
store = RunStore(Path(sys.argv[1]), {"ga": {"pop_size": 4}, "run": {"seed": 0}}, "")
print("held", flush=True)
time.sleep(60)
"""
DIE_WRITING = """
import os, signal, sys
from pathlib import Path
from evoprune.store import atomic as files
files.os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
files.write_atomically(Path(sys.argv[1]), b"half of a file")
"""


def snapshot(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path):
    directory = tmp_path / "deep" / "run"
    with RunStore(directory, IDENTITY, "ga: {}\n") as store:
        store.update(replace(store.manifest, baseline_sha256="abc"))
    return directory


def test_store_appears_at_once_with_its_manifest_when_there_is_none(tmp_path):
    with RunStore(tmp_path / "a" / "b", IDENTITY, "ga: {}\n") as store:
        assert (store.directory / MANIFEST).exists()
        assert (store.directory / CONFIG).read_text() == "ga: {}\n"
        assert not store.manifest.done


def test_store_remembers_when_it_is_opened_again(run):
    with RunStore(run, IDENTITY, "other: {}\n") as store:
        assert store.manifest.baseline_sha256 == "abc"
        assert store.manifest.channels_last is None
        assert (run / CONFIG).read_text() == "ga: {}\n"
        store.update(replace(store.manifest, status=DONE))
    with RunStore(run, IDENTITY, "") as store:
        assert store.manifest.done


@pytest.mark.parametrize("name", ["thesis.tex", ".git", ".probe", ".lock.txt", "evaluations.jsonl", "manifest.json"])
@pytest.mark.parametrize("more", [{}, {LOCK: "precious"}], ids=["", "and a lock"])
def test_store_refuses_a_directory_of_something_else_and_leaves_it_alone(tmp_path, name, more):
    for file, text in {name: '{"short_name": "an app"}', **more}.items():
        (tmp_path / file).write_text(text)
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match="not a run of evoprune") as caught:
        RunStore(tmp_path, IDENTITY, "")
    assert "nothing was changed" in caught.value.hint
    assert snapshot(tmp_path) == before


def test_store_names_the_settings_that_differ_and_leaves_the_run_alone(run):
    before = snapshot(run)
    with pytest.raises(ReplayMismatchError, match=r"run\.seed: 0 there, 1 here") as caught:
        RunStore(run, {"ga": {"pop_size": 4}, "run": {"seed": 1}}, "new: {}\n")
    assert "pop_size" not in caught.value.message
    assert snapshot(run) == before


def test_store_refuses_a_run_of_other_versions(run, monkeypatch):
    monkeypatch.setattr("evoprune.store.manifest.version", lambda name: "0.0.1")
    with pytest.raises(ReplayMismatchError, match=r"torch: .* there, 0\.0\.1 here"):
        RunStore(run, IDENTITY, "")


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00", "[" * 100_000])
def test_store_refuses_a_damaged_manifest(run, content):
    (run / MANIFEST).write_text(content)
    with pytest.raises((StoreCorruptedError, UsageError), match=r"manifest\.json"):
        RunStore(run, IDENTITY, "")
    assert (run / MANIFEST).read_text() == content


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null/run", "/dev/null"])
def test_store_says_so_when_the_directory_cannot_be_written(place):
    with pytest.raises(UsageError, match=f"can't write to the output directory {place}") as caught:
        RunStore(Path(place), IDENTITY, "")
    assert "--out" in caught.value.hint


def test_store_says_so_when_the_lock_cannot_be_written(tmp_path, monkeypatch):
    def refuse(lock, **_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("evoprune.store.claim.FileLock.acquire", refuse)
    with pytest.raises(UsageError, match=r"can't write to the output directory .*: Permission denied"):
        RunStore(tmp_path, IDENTITY, "")
    assert list(tmp_path.iterdir()) == []


def test_store_is_refused_while_another_process_holds_it_and_free_when_that_is_dead(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="another process is at work"):
            RunStore(tmp_path / "run", IDENTITY, "")
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    with RunStore(tmp_path / "run", IDENTITY, "") as store:
        assert not store.manifest.done


def test_store_begins_when_a_process_died_before_its_manifest_was_in_place(tmp_path):
    (tmp_path / LOCK).touch()
    (tmp_path / f".{MANIFEST}.x1y2").write_text("{")
    with RunStore(tmp_path, IDENTITY, "") as store:
        assert store.manifest.status == "running"


@pytest.mark.parametrize("name", [MANIFEST, "artifact/model.safetensors", "solutions/conv1.safetensors"])
def test_store_removes_what_a_process_left_that_died_writing(run, name):
    before = snapshot(run)
    dead = subprocess.run([sys.executable, "-c", DIE_WRITING, run / name], check=False)
    assert dead.returncode == -signal.SIGKILL
    assert len(snapshot(run)) == len(before) + 1
    with RunStore(run, IDENTITY, ""):
        pass
    assert snapshot(run) == before


def test_store_withdraws_when_the_settings_stop_a_run_that_has_nothing(tmp_path):
    with pytest.raises(UsageError, match="wrong"), RunStore(tmp_path / "run", IDENTITY, ""):
        raise UsageError("wrong")
    assert list((tmp_path / "run").iterdir()) == []


def test_store_keeps_what_there_is_when_the_settings_stop_a_resumed_run(run):
    with pytest.raises(UsageError, match="wrong"), RunStore(run, IDENTITY, ""):
        raise UsageError("wrong")
    assert {MANIFEST, CONFIG, JOURNAL} <= {path.name for path in run.iterdir()}


def test_store_keeps_a_run_of_an_earlier_process_when_the_settings_stop_it(tmp_path):
    with RunStore(tmp_path, IDENTITY, ""):
        pass
    with pytest.raises(UsageError, match="wrong"), RunStore(tmp_path, IDENTITY, ""):
        raise UsageError("wrong")
    assert (tmp_path / MANIFEST).exists()


def test_pin_refuses_another_value_at_a_resume(run):
    with RunStore(run, IDENTITY, "") as store:
        store.pin("data", {"train": "1"})
        store.pin("data", {"train": "1"})
    with (
        RunStore(run, IDENTITY, "") as store,
        pytest.raises(ReplayMismatchError, match=r"another data\.train: 1 then, 2 now"),
    ):
        store.pin("data", {"train": "2"})


@pytest.mark.parametrize(
    "name", ["states", "solutions", "artifact", "baseline", JOURNAL, "events.jsonl", "run.log", LOCK]
)
def test_store_refuses_links_that_lead_out_of_its_directory(run, tmp_path, name):
    outside = tmp_path / "outside"
    if "." in name:
        outside.write_text("precious")
    else:
        outside.mkdir()
        (outside / "a.safetensors").write_text("precious")
        (outside / ".b.part").write_text("precious")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(outside)
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match=f"{name} is a symbolic link"):
        RunStore(run, IDENTITY, "")
    assert snapshot(tmp_path) == before


def test_store_replaces_links_where_it_writes_whole_files(run, tmp_path):
    (tmp_path / "outside").write_text("precious")
    (run / "comparison.json").symlink_to(tmp_path / "outside")
    with RunStore(run, IDENTITY, "") as store:
        store.write_json("comparison.json", {})
    assert (tmp_path / "outside").read_text() == "precious"
    assert not (run / "comparison.json").is_symlink()


def test_store_takes_a_directory_that_is_a_link(run, tmp_path):
    (tmp_path / "link").symlink_to(run)
    with RunStore(tmp_path / "link", IDENTITY, "") as store:
        assert store.manifest.baseline_sha256 == "abc"
