"""State encodings of the River models on offer. Another River model is offered by registering it here."""

from array import array
from collections.abc import Sequence
from zlib import crc32

from river.anomaly import GaussianScorer, HalfSpaceTrees

from services.scoring.kernel import no_masses
from services.scoring.one_pass import OnePassGaussian, OnePassTrees
from services.scoring.state import Codec, State, StateUnreadable, encode, register, register_fields, restored_array

_GAUSSIAN = "river.gaussian.1"
_TREES = "river.half_space_trees.2"
"""One tag for a model and its one-pass twin: what the one has learnt, the other reads.

Of trees: the features' names, a checksum of the splits (which follow from the seed), the readings of this window, and
the leaves' masses, tree by tree from left to right, in this window and in the one before (none: none was full yet).
"""

register_fields(GaussianScorer, _GAUSSIAN, "gaussian._var.mean.n", "gaussian._var.mean._mean", "gaussian._var._S")
register_fields(OnePassGaussian, _GAUSSIAN, "kernel.n", "kernel.mean", "kernel.squares")


def _trees_encode(model: HalfSpaceTrees) -> list[State]:
    if not model.trees:
        return []
    leaves = [node for nodes in model._tree_nodes for node in nodes if not _is_split(node)]
    kind = no_masses(0, model.window_size).typecode
    latest = array(kind, [leaf.l_mass for leaf in leaves])
    reference = array(kind, [] if model._first_window else [leaf.r_mass for leaf in leaves])
    return [sorted(model.limits), _splits(model), model.counter, encode(latest), encode(reference)]


def _trees_restore(model: HalfSpaceTrees, fields: Sequence[State]) -> None:
    if not fields:
        return
    names, splits, counter, packed_latest, packed_reference = _trees_fields(fields)
    model.learn_one(dict.fromkeys(names, 0.5))
    nodes = [node for tree in model._tree_nodes for node in tree]
    _require_same_splits(names == sorted(model.limits) and splits == _splits(model))
    leaves = no_masses(sum(not _is_split(node) for node in nodes), model.window_size)
    latest, reference = _masses(leaves, len(model.trees), model.window_size, counter, packed_latest, packed_reference)
    # Backwards, in depth-first order, both children of a split come right before it.
    below: list[tuple[int, int]] = []
    for node in reversed(nodes):
        if _is_split(node):
            (left_latest, left_reference), (right_latest, right_reference) = below.pop(), below.pop()
            node.l_mass, node.r_mass = left_latest + right_latest, left_reference + right_reference
        else:
            node.l_mass, node.r_mass = latest.pop(), reference.pop() if reference else 0
        below.append((node.l_mass, node.r_mass))
    model.counter = counter
    model._first_window = not packed_reference


def _is_split(node: object) -> bool:
    return hasattr(node, "threshold")


def _splits(model: HalfSpaceTrees) -> int:
    splits = [(node.feature, node.threshold) for nodes in model._tree_nodes for node in nodes if _is_split(node)]
    return crc32(repr(splits).encode())


def _one_pass_trees_encode(model: OnePassTrees) -> list[State]:
    kernel = model.kernel
    if kernel is None or not (kernel.counter or kernel.reference):
        return []
    forest = kernel.forest
    return [forest.names.copy(), forest.checksum, kernel.counter, encode(kernel.latest), encode(kernel.reference)]


def _one_pass_trees_restore(model: OnePassTrees, fields: Sequence[State]) -> None:
    if not fields:
        return
    names, splits, counter, packed_latest, packed_reference = _trees_fields(fields)
    kernel = model.kernel or model.grow(*names)
    _require_same_splits(kernel.forest.names == names and kernel.forest.checksum == splits)
    trees, window = model.n_trees, model.window_size
    latest, reference = _masses(kernel.latest, trees, window, counter, packed_latest, packed_reference)
    kernel.restore(latest, reference, counter)


def _trees_fields(fields: Sequence[State]) -> tuple[list[str], int, int, bytes, bytes]:
    match fields:
        case [list(names), int(splits), int(counter), bytes(latest), bytes(reference)]:
            return [str(name) for name in names], splits, counter, latest, reference
    raise StateUnreadable("river.half_space_trees: expected names, splits, counter, masses, masses before")


def _require_same_splits(same: bool) -> None:  # noqa: FBT001 - one thing, named by the function
    if not same:
        raise StateUnreadable("river.half_space_trees: this River grows other trees from the same seed")


def _masses(
    like: "array[int]", trees: int, window: int, counter: int, packed_latest: bytes, packed_reference: bytes
) -> "tuple[array[int], array[int]]":
    """Both windows' masses, arrays like that one. Each reading lies in one leaf of each tree."""
    latest = restored_array(like[:], packed_latest, _TREES)
    reference = restored_array(like[:] if packed_reference else like[:0], packed_reference, _TREES)
    if not 0 <= counter < window or sum(latest) != trees * counter or sum(reference) not in (0, trees * window):
        raise StateUnreadable("river.half_space_trees: masses that do not add up to the readings")
    return latest, reference


register(HalfSpaceTrees, Codec(_TREES, _trees_encode, _trees_restore))
register(OnePassTrees, Codec(_TREES, _one_pass_trees_encode, _one_pass_trees_restore))
