"""State encodings of the River models on offer. Another River model is offered by registering it here."""

import struct
from collections.abc import Sequence
from zlib import crc32

from river.anomaly import GaussianScorer, HalfSpaceTrees

from services.scoring.kernel import TreesKernel
from services.scoring.one_pass import OnePassGaussian, OnePassTrees
from services.scoring.state import Codec, State, StateUnreadable, register, register_fields

_GAUSSIAN = "river.gaussian.1"
_TREES = "river.half_space_trees.1"
"""One tag for a model and its one-pass twin: what the one has learnt, the other reads."""

register_fields(GaussianScorer, _GAUSSIAN, "gaussian._var.mean.n", "gaussian._var.mean._mean", "gaussian._var._S")
register_fields(OnePassGaussian, _GAUSSIAN, "kernel.n", "kernel.mean", "kernel.squares")


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


def _one_pass_trees_encode(model: OnePassTrees) -> list[State]:
    kernel = model.kernel
    if kernel is None or (kernel.is_first and not kernel.counter):
        return []
    forest = kernel.forest
    latest, reference = kernel.masses(kernel.latest), kernel.masses(kernel.reference)
    masses = [mass for node in _depth_first(kernel) for mass in (latest[node], reference[node])]
    packed = struct.pack(f"<{len(masses)}H", *masses)
    return [forest.names.copy(), forest.checksum, kernel.counter, kernel.is_first, packed]


def _one_pass_trees_restore(model: OnePassTrees, fields: Sequence[State]) -> None:
    if not fields:
        return
    match fields:
        case [list(names), int(splits), int(counter), bool(is_first), bytes(packed)]:
            kernel = model.kernel or model.grow(*map(str, names))
        case _:
            raise StateUnreadable("river.half_space_trees: expected names, splits, counter, window, masses")
    order = _depth_first(kernel)
    if kernel.forest.names != names or kernel.forest.checksum != splits or len(packed) != 4 * len(order):
        raise StateUnreadable("river.half_space_trees: this River grows other trees from the same seed")
    masses = struct.unpack(f"<{2 * len(order)}H", packed)
    latest, reference = [0] * len(order), [0] * len(order)
    for place, node in enumerate(order):
        latest[node], reference[node] = masses[2 * place], masses[2 * place + 1]
    kernel.restore(latest, reference, counter, is_first=is_first)


def _depth_first(kernel: TreesKernel) -> list[int]:
    """The order in which River walks the nodes: places in `TreesKernel.masses`."""
    inner, found = kernel.forest.inner, []
    for tree in range(kernel.forest.trees):
        waiting = [0]
        while waiting:
            node = waiting.pop()
            found.append(tree * (2 * inner + 1) + node)
            if node < inner:
                waiting += (2 * node + 2, 2 * node + 1)
    return found


register(HalfSpaceTrees, Codec(_TREES, _trees_encode, _trees_restore))
register(OnePassTrees, Codec(_TREES, _one_pass_trees_encode, _one_pass_trees_restore))
