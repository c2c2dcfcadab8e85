"""State encodings of the River models on offer. Another River model is offered by registering it here."""

import struct
from collections.abc import Sequence
from zlib import crc32

from river.anomaly import GaussianScorer, HalfSpaceTrees

from services.scoring.state import Codec, State, StateUnreadable, register, register_fields

register_fields(
    GaussianScorer, "river.gaussian.1", "gaussian._var.mean.n", "gaussian._var.mean._mean", "gaussian._var._S"
)


def _trees_encode(model: HalfSpaceTrees) -> list[State]:
    """Masses only: the trees' splits follow from the seed; their checksum tells whether they still do."""
    if not model.trees:
        return []
    names = sorted(model.limits)
    masses = [mass for nodes in model._tree_nodes for node in nodes for mass in (node.l_mass, node.r_mass)]
    packed = struct.pack(f"<{len(masses)}H", *masses)
    return [names, _splits(model), model.counter, model._first_window, packed]


def _trees_restore(model: HalfSpaceTrees, fields: Sequence[State]) -> None:
    if not fields:
        return
    match fields:
        case [list(names), int(splits), int(counter), bool(first_window), bytes(packed)]:
            model.learn_one(dict.fromkeys(map(str, names), 0.5))
        case _:
            raise StateUnreadable("river.half_space_trees: expected names, splits, counter, window, masses")
    nodes = [node for tree in model._tree_nodes for node in tree]
    if _splits(model) != splits or len(packed) != 4 * len(nodes):
        raise StateUnreadable("river.half_space_trees: this River grows other trees from the same seed")
    masses = struct.unpack(f"<{2 * len(nodes)}H", packed)
    for i, node in enumerate(nodes):
        node.l_mass, node.r_mass = masses[2 * i], masses[2 * i + 1]
    model.counter = counter
    model._first_window = first_window


def _splits(model: HalfSpaceTrees) -> int:
    splits = [
        (node.feature, node.threshold) for nodes in model._tree_nodes for node in nodes if hasattr(node, "threshold")
    ]
    return crc32(repr(splits).encode())


register(HalfSpaceTrees, Codec("river.half_space_trees.1", _trees_encode, _trees_restore))
