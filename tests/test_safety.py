"""What docs/guide/security.md promises: nothing is unpickled, nobody is asked who is not named, no code comes from a file."""

import ast
import os
import pickle
import socket
from pathlib import Path

import pytest
import torch

import evoprune as ep
from evoprune.execution.apart import can_work_apart
from tests.run.conftest import MASKS, SMALL, TINY
from tests.test_architecture import SOURCES, name_of

UNPICKLERS = {"pickle", "cloudpickle", "_pickle", "marshal", "shelve", "dill", "joblib", "jsonpickle"}
NETWORK = {"socket", "urllib.request", "http", "requests", "httpx", "aiohttp", "ftplib", "smtplib", "pooch", "ssl"}
PROGRAMS = {"subprocess", "pty", "ctypes"}
OWN_WORKERS = {"execution/apart.py", "execution/pool/worker.py", "execution/ray/worker.py"}
"""Objects travel between a run and its own workers by pickle."""
SUITES = {"testing/encoding_suite.py", "testing/objective_suite.py"}
"""They open what they have pickled themselves, to see that it travels."""
EXPORTERS = {"exporters/torch_export.py", "exporters/weight_files.py"}
"""They read a file back in the moment that they have written it."""


def calls(path):
    """`(dotted name, call)` of every call in a file that has one."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def imports(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(modules):
    return {name_of(path) for path in SOURCES if modules & {part for name in imports(path) for part in parents(name)}}


def parents(name):
    parts = name.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts) + 1)}


def keyword(call, name):
    return next((ast.unparse(one.value) for one in call.keywords if one.arg == name), None)


@pytest.mark.slow
def test_only_workers_of_the_run_unpickle():
    ways = {f"{module}.{name}" for module in UNPICKLERS for name in ("load", "loads", "Unpickler", "open")}
    assert {name_of(path) for path in SOURCES for name, _ in calls(path) if name in ways} == OWN_WORKERS | SUITES
    assert not {name for path in SOURCES for name in imports(path) if name in ways}


def test_files_of_torch_and_numpy_are_read_without_running_code():
    loads = [(name_of(path), name, call) for path in SOURCES for name, call in calls(path)]
    torch_loads = [(file, keyword(call, "weights_only")) for file, name, call in loads if name == "torch.load"]
    assert sorted(torch_loads) == [("exporters/weight_files.py", "True"), ("store/checkpoint.py", "True")]
    assert {keyword(call, "allow_pickle") for _, name, call in loads if name in ("np.load", "numpy.load")} == {"False"}
    assert {file for file, name, _ in loads if name == "torch.export.load"} <= EXPORTERS
    # Programs that this very process has just written, read again to be compared.
    assert {file for file, name, _ in loads if name == "torch.jit.load"} == {"exporters/torchscript_file.py"}
    assert {file for file, name, _ in loads if name.endswith(".exec_module")} == {"exporters/source_code.py"}
    assert not {name for _, name, _ in loads} & {"torch.hub.load", "eval", "exec"}


def test_yaml_is_loaded_safely():
    loads = {name for path in SOURCES for name, _ in calls(path) if name.startswith("yaml.") and "load" in name}
    assert loads <= {"yaml.safe_load"}
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES)
    classes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    bases = {ast.unparse(base) for one in classes for base in one.bases}
    assert {base for base in bases if base.startswith("yaml.")} == {"yaml.SafeLoader"}


def test_only_providers_of_data_and_executors_reach_out():
    assert not {name for name in importers(NETWORK) if not name.startswith(("datasets/providers/", "execution/"))}
    assert importers(PROGRAMS) <= {
        "datasets/providers/command.py",
        "execution/pool/executor.py",
        "execution/pool/worker.py",
        "nn_utils/kept_memory.py",  # asks the C library to hold on to freed memory
    }


@pytest.fixture
def nothing_but_files(monkeypatch, tmp_path):
    """Unpickling and the network fail; trainings run in this process: what a child answers comes by pickle over its pipe."""

    def refuse(*_, **__):
        raise AssertionError("not allowed")

    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))
    for owner, names in ((pickle, ("load", "loads")), (torch, ("load",)), (socket, ("getaddrinfo",))):
        for name in names:
            monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr(pickle, "Unpickler", type("Refusing", (pickle.Unpickler,), {"__init__": refuse}))
    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.delattr(os, "fork", raising=False)
    can_work_apart.cache_clear()
    yield
    can_work_apart.cache_clear()


@pytest.mark.parametrize("config", [SMALL, MASKS], ids=["channels", "masks"])
def test_run_resume_load_and_finetune_unpickle_nothing_and_ask_nobody(nothing_but_files, tmp_path: Path, config):
    with pytest.raises(AssertionError, match="not allowed"):
        socket.create_connection(("localhost", 1))
    directory = ep.run_recipe(TINY, config=config, out=tmp_path / "run").directory
    manifest = (directory / "manifest.json").read_text()
    (directory / "manifest.json").write_text(manifest.replace('"done"', '"running"'))
    assert ep.resume(directory).best.model is not None
    assert ep.finetune(directory, epochs=0.1).model is not None
    assert ep.load(directory / "finetuned") is not None
