"""Damaged copies of sound files: bytes changed anywhere, or a value somewhere inside a JSON document."""

import copy
import json

from hypothesis import strategies as st

JUNK = st.sampled_from(
    [b"", b"\0", b"\xff\xfe", b"\n", b"{}", b"[]", b"null", b"-1", b"1e999", b'""', b"NaN", b"9" * 400, b"[" * 3000]
)

VALUES = st.one_of(
    st.sampled_from(
        [None, True, -1, 0, 2**31, 2**63, 10**400, 1e308, float("nan"), float("inf"), "", "\0", "[red]$x^$"]
    ),
    st.sampled_from(
        ["../../../../etc/passwd", "/etc/passwd", "a" * 5000, "\ud800", "~nobody/x", "1h", "auto", "cuda:999"]
    ),
    st.builds(list),
    st.builds(dict),
    st.just([[]]),
    st.just({"": {"": 0}}),
    st.integers(1, 300).map(lambda depth: json.loads("[" * depth + "]" * depth)),
    st.floats(),
    st.text(max_size=5),
)


@st.composite
def damaged_bytes(draw, content):
    """A few cuts, insertions, doublings and flips anywhere in `content`."""
    damaged = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(damaged)))
        end = min(len(damaged), start + draw(st.sampled_from([0, 1, 2, 8, 100, len(content)])))
        new = draw(st.one_of(JUNK, st.binary(max_size=9), st.just(bytes(damaged[start:end]) * 2)))
        damaged[start:end] = new
    return bytes(damaged)


@st.composite
def damaged_documents(draw, document):
    """One to three values anywhere inside `document` replaced, removed or doubled."""
    root = [copy.deepcopy(document)]
    for _ in range(draw(st.integers(1, 3))):
        parent, key = draw(st.sampled_from(list(places(root))))
        action = draw(st.sampled_from(["replace", "replace", "remove", "double"]))
        if action == "replace" or parent is root:
            parent[key] = copy.deepcopy(draw(VALUES))
        elif action == "remove":
            del parent[key]
        elif isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        else:
            parent[draw(st.text(max_size=4))] = parent[key]
    return root[0]


def places(parent):
    """`(container, key)` of every value below `parent`."""
    keys = list(parent) if isinstance(parent, dict) else range(len(parent))
    for key in keys:
        yield parent, key
        if isinstance(parent[key], (dict, list)):
            yield from places(parent[key])
