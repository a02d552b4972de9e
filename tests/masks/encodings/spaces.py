"""Small spaces of weight masks, and what every plan of one has to satisfy, checked on the masks themselves."""

import numpy as np
from hypothesis import strategies as st

from evoprune.masks.maskable import MaskableWeight
from evoprune.masks.n_of_m import NOfM
from evoprune.masks.space import MaskSpace
from evoprune.masks.structure_names import parse_structure

STRUCTURES = ["unstructured", "2:4", "1:4", "4:8", "rows", "columns", "4x4"]
# Convolution, linear layer, transposed convolution; then extents of 1 and such that no block or group divides; then transposed
# convolutions of several groups, of which every input is one, among them.
SHAPES = [
    ((5, 3, 3, 3), 0, 1),
    ((8, 12), 0, 1),
    ((6, 5, 2, 2), 1, 1),
    ((1, 9), 0, 1),
    ((7, 1), 0, 1),
    ((9, 2, 1, 3), 1, 1),
    ((3, 17), 0, 1),
    ((8, 3, 2, 2), 1, 2),
    ((6, 4), 1, 6),
    ((9, 5, 3), 1, 3),
]


def weight(shape, output_dim=0, name="w", groups=1):
    return MaskableWeight(f"{name}.weight", name, shape, "conv", output_dim, groups)


def build_space(
    weights, structure="unstructured", *, kept=None, alive=1.0, orders=0, live_outputs=False, seed=0, steps=None
):
    """A space over `weights`; `kept` as a share of what is possible, scores of `steps` different values where given."""
    generator, parsed = np.random.default_rng(seed), parse_structure(structure)
    units = {one.name: parsed.units(outputs_first(one)) for one in weights}
    living = {name: generator.random(count) < alive for name, count in units.items()}
    living[weights[0].name][0] = True

    def scores(count):
        drawn = generator.random(count) if steps is None else generator.integers(0, steps, count)
        return drawn.astype(np.float32)

    ordered = {f"order {number}": {name: scores(count) for name, count in units.items()} for number in range(orders)}
    live = frozenset(one.name for one in weights if live_outputs)
    free = MaskSpace(tuple(weights), living, None, ordered, parsed, live, "fingerprint")
    if kept is None:
        return free
    most = sum(admissible_weights(free, one) for one in weights)
    least = min(most, sum(living_outputs(free, one).sum() * largest_unit(free) for one in weights if live))
    goal = max(1, int(least + round(kept * (most - least))))
    return MaskSpace(free.weights, free.alive, goal, free.orders, parsed, live, "fingerprint")


SHARES = st.floats(0, 1)


@st.composite
def spaces(draw, orders=(0, 2), goal=SHARES, structures=STRUCTURES):
    """Any of the shapes and structures, some units gone already."""
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
    return build_space(
        [weight(shape, dim, f"layer{number}", groups) for number, (shape, dim, groups) in enumerate(shapes)],
        draw(st.sampled_from(structures)),
        kept=draw(goal),
        alive=draw(st.sampled_from([1.0, 0.7, 0.3])),
        orders=draw(st.integers(*orders)),
        live_outputs=draw(st.booleans()),
        seed=draw(st.integers(0, 2**20)),
        steps=draw(st.sampled_from([None, 3])),
    )


def outputs_first(one):
    if one.output_dim == 0:
        return one.shape
    return one.groups * one.shape[1], one.shape[0] // one.groups, *one.shape[2:]


def by_output(space, one, mask):
    """[outputs, ...] of a mask in the weight's own shape: of a transposed convolution, group by group."""
    if one.output_dim == 0:
        return mask
    return np.concatenate([np.moveaxis(part, 1, 0) for part in np.split(mask, one.groups)])


def living_mask(space, one):
    return space.plan(space.alive).masks[one.name].bools


def living_outputs(space, one):
    return by_output(space, one, living_mask(space, one)).reshape(outputs_first(one)[0], -1).any(axis=1)


def largest_unit(space):
    return max(int(np.max(space.unit_sizes(one))) for one in space.weights)


def admissible_weights(space, one):
    """Weights that stay at the most, counted group by group."""
    alive = by_output(space, one, living_mask(space, one))
    if not isinstance(space.structure, NOfM):
        return int(alive.sum())
    n, m = space.structure.n, space.structure.m
    pieces = [alive[:, start : start + m] for start in range(0, alive.shape[1], m)]
    return int(sum(np.minimum(piece.sum(axis=1), n).sum() for piece in pieces))


def faults(space, plan):
    """What is wrong with a plan; empty when nothing is."""
    found = []
    if space.kept is not None:
        size = largest_unit(space)
        if not space.kept - size < plan.kept <= space.kept:
            found.append(f"keeps {plan.kept} for {space.kept}, in units of {size}")
    for one in space.weights:
        mask = plan.masks[one.name].bools
        if mask.shape != one.shape:
            found.append(f"{one.name}: mask of shape {mask.shape}")
        if (mask & ~living_mask(space, one)).any():
            found.append(f"{one.name}: revives the dead")
        outputs = by_output(space, one, mask)
        if isinstance(space.structure, NOfM):
            n, m = space.structure.n, space.structure.m
            groups = [outputs[:, start : start + m].sum(axis=1) for start in range(0, outputs.shape[1], m)]
            if max(int(group.max()) for group in groups) > n:
                found.append(f"{one.name}: more than {n} of {m}")
        if one.name in space.live_outputs:
            living, left = living_outputs(space, one), outputs.reshape(len(outputs), -1).any(axis=1)
            if str(space.structure) == "rows":
                living, left = living.any(), left.any()
            if np.any(living & ~left):
                found.append(f"{one.name}: an output has no weight")
    return found
