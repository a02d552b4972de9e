"""A run in MLflow's local store, read by its client."""

import sys

import pytest

from evoprune.errors import MissingDependencyError
from evoprune.events import RunStarted
from evoprune.tracking import MLflow


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Address of a local store, and a client of it."""
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow")
    pytest.importorskip("sqlalchemy", reason="the local store needs sqlalchemy")
    monkeypatch.chdir(tmp_path)
    address = f"sqlite:///{tmp_path / 'store.db'}"
    return address, mlflow.MlflowClient(address)


def only_run(client, name="evoprune"):
    (run,) = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    return run


@pytest.mark.slow
def test_run_is_kept_with_settings_numbers_and_the_finished_network(store, tracked):
    address, client = store
    comparison, journal = tracked(MLflow(tracking_uri=address))
    run = only_run(client)
    assert (run.info.status, run.data.params["ga.pop_size"]) == ("FINISHED", "4")
    history = client.get_metric_history(run.info.run_id, "candidates/loss")
    assert sorted(one.step for one in history) == [line["index"] for line in journal]
    assert run.data.metrics["finished/pruned/macs"] == comparison["pruned"]["macs"]
    names = {one.path for one in client.list_artifacts(run.info.run_id)}
    assert {"comparison.json", "artifact"} <= names


@pytest.mark.slow
def test_run_that_stopped_is_ended_as_failed_when_the_listener_is_closed(store, tmp_path):
    address, client = store
    listener = MLflow("mine", address)
    listener(RunStarted(str(tmp_path), 0))
    listener.close()
    assert only_run(client, "mine").info.status == "FAILED"


def test_missing_package_is_named_with_the_extra_that_has_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingDependencyError, match=r"MLflow is not installed .*evoprune\[mlflow\]"):
        MLflow()
