"""Sound files of every format that is read back, small, and what reads them."""

import copy
import gzip
import hashlib
import io
import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from evoprune.channels.analyze import analyze
from evoprune.channels.surgery import prune
from evoprune.config.schema import make_config
from evoprune.config.yaml_files import read_config
from evoprune.datasets.data_file import DataFile
from evoprune.genome import BitGenome
from evoprune.mask_plan import MaskPlan
from evoprune.masks.apply import apply_masks, plan_of
from evoprune.nn_utils.weights import put_weights, read_weights, weight_bytes
from evoprune.plan import PruningPlan
from evoprune.results import Evaluation, Status
from evoprune.store.artifact import MODEL, SETTINGS, load_artifact, save_artifact
from evoprune.store.checkpoint import read_checkpoint
from evoprune.store.claim import MANIFEST
from evoprune.store.journal import JournalEntry, read_journal
from evoprune.store.mask_files import read_masks
from evoprune.store.run_directory import RunStore
from evoprune.store.sparse_weights import read_sparse_weights, sparse_weight_bytes
from evoprune.store.states import State, StateFolder
from evoprune.store.steps import STEPS, StepRecord, StepRecords
from evoprune.testing.tiny import tiny_recipe

FACTORY = "evoprune.testing.tiny:TinyCNN"
IDENTITY = {"ga": {"pop_size": 4}, "run": {"seed": 0}}
GENOME = BitGenome.from_bits(np.array([True, False, True] * 7))
IMAGES = DataFile("images", (3, 2, 2))
RECORDS = DataFile("batch", (2, 3, 32, 32), layout="records")


@cache
def network():
    return tiny_recipe()[0].eval()


@cache
def channel_plan():
    space = analyze(network(), torch.zeros(1, 3, 8, 8))
    return space.random_plan(keep=0.5, seed=0)


@cache
def mask_plan():
    masks = {name: np.arange(value.numel()).reshape(value.shape) % 9 == 0 for name, value in weights()}
    return plan_of(network(), masks)


def weights():
    return [(name, value) for name, value in network().named_parameters() if value.dim() > 1]


def masked():
    return apply_masks(network(), mask_plan())


@cache
def state():
    alive = {name: np.ones(value.numel(), dtype=bool) for name, value in weights()}
    orders = {"lamp": {name: np.arange(value.numel(), dtype=np.float32) for name, value in weights()}}
    return State(dict(network().state_dict()), alive, orders)


def journal():
    ok = Evaluation(GENOME.digest, 0, Status.OK, {"accuracy": 0.5, "macs": 1000.0})
    failed = Evaluation(GENOME.digest, 0, Status.FAILED, {}, reason="loss is nan")
    tags = {"step": 0, "encoding": "weight-bits", "layer": "conv1", "history": [{"generation": 0, "fitness": 0.5}]}
    return [JournalEntry(0, 0, GENOME, ok, 0.5, tags), JournalEntry(1, 0, GENOME, failed)]


def step(number):
    return StepRecord(
        number, 0, 0.5, False, ("conv1",), {"conv1": 0.5}, 0.5, 0.8, 0.9, None, "0" * 32, "a" * 32, 8, 2
    ).to_json()  # fmt: skip


def npz():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: mask.bools for name, mask in mask_plan().masks.items()})
    return buffer.getvalue()


def pth():
    buffer = io.BytesIO()
    torch.save(network().state_dict(), buffer)
    return buffer.getvalue()


IDX = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in IMAGES.shape) + bytes(range(12))

CONFIG = """\
recipe: mnist-cnn
training: &training {epochs: 2, lr: 1e-3, optimizer: adamw}
ga: {pop_size: 8, initial_keep: [0.2, 0.9]}
search: {constraints: ["macs<=0.5"], encoding: keep-ratios, layer_types: [conv]}
masks: {structure: 2:4, goals: [0.5, 0.9]}
run: {time_budget: 1h30m, seed: 3}
data: {dir: ~/data, checkpoint: a.pth}
"""


def _written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def read_state(content, folder):
    """As a state whose name is the hash of whatever is in it."""
    digest = hashlib.sha256(content).hexdigest()[:32]
    states = StateFolder(folder)
    _written(states.path(digest), content)
    return states.get(digest)


def read_genome(content, folder):
    states = StateFolder(folder)
    _written(states.genome_path(GENOME.digest), content)
    return states.genome(GENOME.digest)


def read_config_file(content, folder):
    return make_config(read_config(_written(folder / "config.yaml", content)))


def read_put(content, folder):
    put_weights(copy.deepcopy(network()), read_weights(_written(folder / "w.safetensors", content)), "w.safetensors")


def read_settings_file(content, folder):
    """As the tensors of an artifact's settings, with the hash of whatever is in them."""
    files = {**artifact(), SETTINGS: content}
    files[MODEL] = json.dumps({**card(), "settings_sha256": hashlib.sha256(content).hexdigest()}).encode()
    for name, one in files.items():
        _written(folder / name, one)
    return load_artifact(folder)


BYTES = {
    "settings of an artifact": (lambda: artifact()[SETTINGS], read_settings_file),
    "weights": (lambda: weight_bytes(network()), read_put),
    "sparse weights": (
        lambda: sparse_weight_bytes(masked(), mask_plan()),
        lambda content, _: read_sparse_weights(content, most_weights=100_000),
    ),
    "masks": (lambda: mask_plan().to_bytes(), lambda content, _: MaskPlan.from_bytes(content)),
    "plan": (
        lambda: channel_plan().to_json().encode(),
        lambda content, _: PruningPlan.from_json(content.decode(errors="surrogateescape")),
    ),
    "state": (lambda: state().to_bytes(), read_state),
    "genome": (lambda: (21).to_bytes(8, "big") + GENOME.packed.tobytes(), read_genome),
    "journal": (
        lambda: b"".join(one.to_line().encode() + b"\n" for one in journal()),
        lambda content, folder: read_journal(_written(folder / "evaluations.jsonl", content)),
    ),
    "config": (CONFIG.encode, read_config_file),
    "idx": (lambda: IDX, lambda content, folder: IMAGES.open(_written(folder / "images", content))),
    "cifar": (
        lambda: bytes(2 * 3073),
        lambda content, folder: RECORDS.open(_written(folder / "batch", content)),
    ),
    "gzip": (
        lambda: gzip.compress(IDX),
        lambda content, _: IMAGES.parse(np.frombuffer(IMAGES.unpack(content, "images.gz"), np.uint8), "images.gz"),
    ),
    "checkpoint": (pth, lambda content, folder: read_checkpoint(_written(folder / "w.pth", content))),
    "warm start": (npz, lambda content, folder: read_masks(_written(folder / "m.npz", content), network())),
}  # fmt: skip
"""`{format: (makes a sound file, reads such a file given its bytes and an empty folder)}`."""


def read_journal_lines(document, folder):
    document = document if isinstance(document, list) else [document]
    content = "".join(json.dumps(line) + "\n" for line in document)
    return read_journal(_written(folder / "evaluations.jsonl", content.encode(errors="surrogatepass")))


def read_manifest(document, folder):
    _written(folder / MANIFEST, json.dumps(document).encode())
    with RunStore(folder, IDENTITY, "") as store:
        store.pin("data", {"train": "1"})
        return store.manifest.done


def read_steps(document, folder):
    with RunStore(folder, IDENTITY, "") as store:
        _written(folder / STEPS, json.dumps(document).encode())
        return StepRecords(store)


def manifest():
    with tempfile.TemporaryDirectory() as folder:
        with RunStore(Path(folder), IDENTITY, "") as store:
            store.pin("data", {"train": "1"})
            store.update(replace(store.manifest, test_set_reads=2, stopped_before_generation=3, baseline_sha256="ab"))
        return json.loads((Path(folder) / MANIFEST).read_text())


@cache
def artifact():
    """The files of an artifact, by name, of a network with settings of many kinds."""
    with tempfile.TemporaryDirectory() as folder:
        plan = channel_plan()
        small = prune(network(), plan)
        small.scale, small.note, small.anchors = 2.5, (1, {"a": [None, 1j]}), [torch.arange(6.0), torch.ones(1)]
        small.conv1.padding, small.bn1.eps = (1, 1), 0.5
        save_artifact(Path(folder), small, plan, factory=FACTORY, task=tiny_recipe()[1])
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def card():
    return json.loads(artifact()["model.json"])


def read_resealed(folder, name, document, digest):
    """A network from an artifact whose file `name` was replaced; where it goes by a hash in `model.json`, with that corrected."""
    files = {**artifact(), name: json.dumps(document).encode()}
    if digest is not None:
        files["model.json"] = json.dumps({**card(), digest: hashlib.sha256(files[name]).hexdigest()}).encode()
    for one, content in files.items():
        _written(folder / one, content)
    return load_artifact(folder)
