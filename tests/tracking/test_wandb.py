"""A run in the file that wandb keeps offline, read by wandb's own reader."""

import json
import sys

import pytest

from evoprune.errors import MissingDependencyError
from evoprune.tracking import WandB

HEAD, RECORD_HEAD, BLOCK = 7, 7, 32 * 1024
FULL, LAST = 1, 4
"""Kinds of records: a whole one, and the end of one in parts."""


def payloads(content):
    """Records of a file in the format of LevelDB's log, in blocks of 32 kB, after wandb's own head of seven bytes."""
    position, parts = HEAD, []
    while position + RECORD_HEAD <= len(content):
        left = BLOCK - position % BLOCK
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        if left < RECORD_HEAD or kind == 0:
            position += left
            continue
        parts.append(content[position + RECORD_HEAD : position + RECORD_HEAD + length])
        position += RECORD_HEAD + length
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []


def records(folder):
    """What stands in the only file of offline runs in a folder."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    return [wandb_internal_pb2.Record.FromString(one) for one in payloads(path.read_bytes())]


def items_of(records):
    for record in records:
        items = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        if items:
            yield items


@pytest.fixture
def service(monkeypatch):
    """wandb's own process, which would otherwise stay as long as Python does."""
    wandb = pytest.importorskip("wandb", reason="needs wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    wandb.teardown()
    monkeypatch.delenv("WANDB_SERVICE", raising=False)


@pytest.mark.slow
@pytest.mark.usefixtures("service")
def test_run_is_kept_offline(tracked, tmp_path):
    comparison, journal = tracked(WandB(mode="offline", dir=str(tmp_path)))
    found = records(tmp_path)
    history = [one for one in items_of(found) if "candidates/loss" in one]
    assert [one["candidates/step"] for one in history] == [line["index"] for line in journal]
    assert history[0]["candidates/loss"] == journal[0]["objectives"]["loss"]
    summary = {
        "/".join(item.nested_key) or item.key: json.loads(item.value_json)
        for record in found
        for item in record.summary.update
    }
    assert summary["pruned/macs"] == comparison["pruned"]["macs"]


def test_missing_package_is_named_with_the_extra_that_has_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingDependencyError, match=r"wandb is not installed .*evoprune\[wandb\]"):
        WandB()
