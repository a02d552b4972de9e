"""Small files that stand for much, and what reads them. As a program: reads each of them where there is little memory.

`python -m tests.fuzz.bombs FOLDER` prints a JSON object: of each file, what reading it came to.
"""

import base64
import io
import json
import resource
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from evoprune.config.yaml_files import read_config
from evoprune.errors import EvopruneError
from evoprune.mask_plan import MaskPlan
from evoprune.store.atomic import read_json
from evoprune.store.checkpoint import read_checkpoint
from evoprune.store.mask_files import read_masks
from evoprune.store.sparse_weights import FORMAT, GAPS, HEADER, VALUES
from tests.fuzz import samples

SPARE_BYTES = 200 << 20
GIGA = 1 << 30
DEEP = 100_000
NEST = b"[" * DEEP + b"]" * DEEP
IDX_HEADER = bytes([0, 0, 8, 3])


def sparse(shape, gaps):
    """A sparse artifact of one tensor, none of whose weights stays."""
    header = json.dumps({"format": FORMAT, "shapes": {"fc.weight": shape}})
    stored = {"fc.weight" + VALUES: torch.zeros(0, dtype=torch.float64), "fc.weight" + GAPS: gaps}
    return save(stored, {HEADER: header})


def sparse_of(weights):
    return sparse([weights], torch.tensor([255] * (weights // 255) + [weights % 255], dtype=torch.uint8))


def mask_plan(shape):
    header = json.dumps({"format": 1, "fingerprint": "f", "shapes": {"a": shape}})
    return save({"a": torch.zeros(8, dtype=torch.uint8)}, {"evoprune.masks": header})


def zipped(name, content, times=1):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(times):
            archive.writestr(f"{number}{name}", content)
    return buffer.getvalue()


def npy(shape, kind="|b1"):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": kind, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + bytes(64)


def fat_checkpoint():
    """What `torch.save` writes, compressed: a thousand times smaller than the tensor in it."""
    plain, packed = io.BytesIO(), io.BytesIO()
    torch.save({"w": torch.zeros(64 << 20)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    return packed.getvalue()


def journal_line(**changes):
    line = json.loads(samples.journal()[0].to_line())
    return json.dumps({**line, **changes}).encode() + b"\n"


def read_manifest(content, folder):
    (folder / "manifest.json").write_bytes(content)
    return read_json(folder / "manifest.json")


def read_warm_start(suffix):
    def read(content, folder):
        (folder / f"fc{suffix}").write_bytes(content)
        return read_masks(folder / f"fc{suffix}", samples.network())

    return read


def read_torch(content, folder):
    (folder / "w.pth").write_bytes(content)
    return read_checkpoint(folder / "w.pth")


def read_bytes(kind):
    return samples.BYTES[kind][1]


def read_yaml(content, folder):
    (folder / "c.yaml").write_bytes(content)
    return read_config(folder / "c.yaml")


BOMBS = {
    "sparse weights of a giant": (lambda: sparse_of(GIGA), read_bytes("sparse weights")),
    "sparse weights as a warm start": (lambda: sparse_of(GIGA), read_warm_start(".safetensors")),
    "sparse weights of endless shape": (lambda: sparse([10**4000] * 400, torch.zeros(1)), read_bytes("sparse weights")),
    "masks of endless shape": (lambda: mask_plan([2] * 100_000), lambda content, _: MaskPlan.from_bytes(content)),
    "masks of huge extents": (lambda: mask_plan([1 << 62, 1 << 62]), lambda content, _: MaskPlan.from_bytes(content)),
    "npz of zeros": (lambda: zipped(".npy", npy((GIGA // 4,)) + bytes(GIGA // 4)), read_warm_start(".npz")),
    "npz of many": (lambda: zipped(".npy", npy((1 << 20,)) + bytes(1 << 20), 300), read_warm_start(".npz")),
    "npz that promises": (lambda: zipped(".npy", npy((1 << 40,))), read_warm_start(".npz")),
    "npz of long text": (lambda: zipped(".npy", npy((4,), "<U500000000")), read_warm_start(".npz")),
    "npy that promises": (lambda: npy((1 << 40,)), read_warm_start(".npy")),
    "checkpoint of zeros": (fat_checkpoint, read_torch),
    "idx that promises": (lambda: IDX_HEADER + b"\x7f\xff\xff\xff" * 3 + bytes(12), read_bytes("idx")),
    "idx of 2^31 images": (lambda: IDX_HEADER + b"\x80\0\0\0\0\0\0\x1c\0\0\0\x1c", read_bytes("idx")),
    "idx in gzip": (lambda: samples.gzip.compress(bytes(GIGA // 4)), read_bytes("gzip")),
    "journal with a long genome": (lambda: journal_line(length=2**62), read_bytes("journal")),
    "journal with a longer one": (lambda: journal_line(length=10**400), read_bytes("journal")),
    "journal with no bits": (lambda: journal_line(length=2**62, bits=base64.b64encode(b"").decode()), read_bytes("journal")),
    "journal with a deep tag": (lambda: journal_line(step=0).replace(b'step": 0', b'step": ' + NEST), read_bytes("journal")),
    "deep manifest": (lambda: b'{"identity":' * DEEP + b"{}" + b"}" * DEEP, read_manifest),
    "deep plan": (lambda: b'{"kept":' * DEEP + b"{}" + b"}" * DEEP, read_bytes("plan")),
    "deep yaml": (lambda: b"a: " + NEST, read_yaml),
    "deep yaml in blocks": (lambda: b"".join(b" " * depth + b"a:\n" for depth in range(3000)), read_yaml),
    "genome that promises": (lambda: (1 << 60).to_bytes(8, "big") + b"\xff", read_bytes("genome")),
    "cifar of another length": (lambda: bytes(5 * 3073), read_bytes("cifar")),
}  # fmt: skip
"""`{what: (makes the file, reads it)}`."""


def outcome(read, content, folder):
    try:
        read(content, folder)
    except EvopruneError as error:
        cause = type(error.__cause__).__name__ if error.__cause__ else ""
        return "MemoryError" if cause == "MemoryError" else "refused"
    except BaseException as error:
        return repr(error)[:200]
    return "read"


def main():
    samples.network(), samples.mask_plan(), samples.journal()
    files = {name: make() for name, (make, _) in BOMBS.items()}
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + SPARE_BYTES, used + SPARE_BYTES))
    outcomes = {}
    for name, (_, read) in BOMBS.items():
        with tempfile.TemporaryDirectory() as folder:
            outcomes[name] = outcome(read, files[name], Path(folder))
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main()
