"""A run in the file that wandb keeps offline, read by wandb's own reader."""

import json
import sys

import pytest

from evoprune.errors import MissingDependencyError
from evoprune.tracking import WandB


def records(folder):
    """What stands in the only file of offline runs in a folder."""
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    store = DataStore()
    store.open_for_scan(str(path))
    found = []
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        found.append(record)
    return found


def items_of(records):
    for record in records:
        items = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        if items:
            yield items


@pytest.mark.slow
def test_run_is_kept_offline(tracked, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="needs wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
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
