"""Inner loops of River's models for one sensor: the same numbers as River's, in one pass over plain fields."""

from array import array
from collections.abc import Mapping, Sequence
from math import erf, sqrt
from typing import Any, Final

_ROOT_OF_2: Final = sqrt(2.0)
_SMALL_PART: Final = 0.1
_LARGEST_BYTE: Final = 0xFF


class Kernel:
    """A model of one sensor. `score` comes first; `learn` may follow, about the same reading."""

    __slots__ = ()

    def score(self, level: float, change: float) -> float:
        """The model's score of a reading, in [0, 1]; `level` and `change` as in `RiverView`."""
        raise NotImplementedError

    def learn(self) -> None:
        """Take in the reading whose score was asked last."""
        raise NotImplementedError


class GaussianKernel(Kernel):
    """River's GaussianScorer, to the last bit: 2 |cdf(level) - 0.5|, mean and variance by Welford's method.

    River goes through four objects for it, and takes n, mean and variance apart for each score.
    """

    __slots__ = ("_level", "grace_period", "mean", "n", "squares")

    def __init__(self, grace_period: int) -> None:
        self.grace_period = grace_period
        self.n = 0.0
        self.mean = 0.0
        self.squares = 0.0
        self._level = 0.0

    def score(self, level: float, change: float) -> float:  # noqa: ARG002 - a Gaussian of the level alone
        """See `Kernel`."""
        self._level = level
        n = self.n
        if n < self.grace_period:
            return 0.0
        deviation: float = (self.squares / (n - 1.0)) ** 0.5 if n > 1.0 else 0.0
        cumulated = 0.5 * (1.0 + erf((level - self.mean) / deviation / _ROOT_OF_2)) if deviation else 0.0
        return 2.0 * abs(cumulated - 0.5)

    def learn(self) -> None:
        """See `Kernel`."""
        level, before = self._level, self.mean
        n = self.n = self.n + 1.0
        mean = self.mean = before + (1.0 / n) * (level - before)
        self.squares += (level - before) * (level - mean)

    def __reduce__(self) -> tuple[Any, ...]:
        # River's models are copied and pickled by what they hold; a compiled class says by itself how.
        return _gaussian_kernel, (self.grace_period, self.n, self.mean, self.squares)


def _gaussian_kernel(grace_period: int, n: float, mean: float, squares: float) -> GaussianKernel:
    kernel = GaussianKernel(grace_period)
    kernel.n, kernel.mean, kernel.squares = n, mean, squares
    return kernel


class Forest:
    """The splits of half-space trees. They follow from a seed, so all sensors of a model share one.

    Trees are full, each of `inner` splits and one leaf more, and lie behind each other, each in the order of a heap:
    the children of node k of a tree are 2 k + 1 and 2 k + 2. `names`: features, sorted. `features`, `thresholds`: of
    each split: the place of its feature in `names`; what is under its threshold goes left. `checksum`: of all splits.
    """

    __slots__ = ("checksum", "features", "inner", "names", "thresholds", "trees")

    def __init__(
        self, names: Sequence[str], trees: int, features: Sequence[int], thresholds: Sequence[float], checksum: int
    ) -> None:
        self.names = list(names)
        self.trees = trees
        self.inner = len(features) // trees
        self.features = list(features)
        self.thresholds = list(thresholds)
        self.checksum = checksum

    def __reduce__(self) -> tuple[Any, ...]:
        return Forest, (self.names, self.trees, self.features, self.thresholds, self.checksum)


def no_masses(leaves: int, window: int) -> "array[int]":
    """The masses of so many leaves when a window of so many readings begins; none becomes larger than the window."""
    return array("B" if window <= _LARGEST_BYTE else "H", [0]) * leaves


class TreesKernel(Kernel):
    """River's HalfSpaceTrees, to the last bit.

    A split's mass is that of the leaves below it, so leaves alone are counted; and what a leaf adds to a score changes
    only when a window is full, so it is taken then. `latest`: leaves' masses in this window, tree by tree, from left to
    right; `reference`: in the one before (empty: none has been full yet). `counter`: readings in this window.
    """

    __slots__ = ("_leaves", "_worth", "counter", "forest", "latest", "reference", "window")

    def __init__(self, forest: Forest, window: int) -> None:
        self.forest = forest
        self.window = window
        self.latest = no_masses(forest.trees * (forest.inner + 1), window)
        self.reference = no_masses(0, window)
        self.counter = 0
        self._leaves = [0] * forest.trees
        self._worth = array("I")

    def score(self, level: float, change: float) -> float:
        """See `Kernel`; for a forest whose features are `change` and `level`."""
        forest, leaves = self.forest, self._leaves
        features, thresholds, inner = forest.features, forest.thresholds, forest.inner
        root = 0
        for tree in range(forest.trees):
            node = 0
            while node < inner:
                split = root + node
                value = level if features[split] == 1 else change
                node += node + (1 if value < thresholds[split] else 2)
            leaves[tree] = root + tree + node - inner
            root += inner
        return self._score()

    def score_row(self, row: Mapping[str, float]) -> float:
        """As `score`, for any features; where a split's is missing, a row goes where most of the window went."""
        forest = self.forest
        inner = forest.inner
        for tree in range(forest.trees):
            node = 0
            while node < inner:
                split = tree * inner + node
                value = row.get(forest.names[forest.features[split]])
                if value is None:
                    is_left = self._latest_mass(tree, 2 * node + 1) >= self._latest_mass(tree, 2 * node + 2)
                else:
                    is_left = value < forest.thresholds[split]
                node = 2 * node + (1 if is_left else 2)
            self._leaves[tree] = tree * (inner + 1) + node - inner
        return self._score()

    def learn(self) -> None:
        """See `Kernel`."""
        latest = self.latest
        for leaf in self._leaves:
            latest[leaf] += 1
        self.counter += 1
        if self.counter == self.window:
            self.reference = latest
            self.latest = no_masses(len(latest), self.window)
            self.counter = 0
            self._worth = array("I")

    def _masses(self, leaves: "array[int]") -> list[int]:
        """The masses of all nodes, tree by tree, each in the order of a heap; `leaves`: `latest` or `reference`."""
        forest = self.forest
        found: list[int] = []
        for tree in range(forest.trees):
            below = list(leaves[tree * (forest.inner + 1) : (tree + 1) * (forest.inner + 1)])
            masses = [0] * forest.inner + below
            for node in range(forest.inner - 1, -1, -1):
                masses[node] = masses[2 * node + 1] + masses[2 * node + 2]
            found += masses
        return found

    def restore(self, latest: "array[int]", reference: "array[int]", counter: int) -> None:
        """Go on from these masses, which are this one's from now on."""
        self.latest = latest
        self.reference = reference
        self.counter = counter
        self._worth = array("I")

    def _score(self) -> float:
        if not self.reference:
            return 0.0
        worth = self._worth
        if not worth:
            worth = self._worth = self._worth_of_leaves()
        total = 0
        for leaf in self._leaves:
            total += worth[leaf]
        forest = self.forest
        return 1.0 - total / (forest.trees * self.window * (2 * forest.inner + 1))

    def _worth_of_leaves(self) -> "array[int]":
        """By leaf: the sum of mass 2^depth on the way to it, up to where less than a tenth of a window is left."""
        inner, nodes = self.forest.inner, 2 * self.forest.inner + 1
        masses = self._masses(self.reference)
        few = _SMALL_PART * self.window
        found = array("I")
        for root in range(0, len(masses), nodes):
            worth = [0] * nodes
            is_over = [False] * nodes
            factor = [1] * nodes
            for node in range(nodes):
                mass = masses[root + node]
                if node == 0:
                    worth[0] = mass
                else:
                    parent = (node - 1) // 2
                    is_over[node] = is_over[parent]
                    factor[node] = 2 * factor[parent]
                    worth[node] = worth[parent] if is_over[parent] else worth[parent] + mass * factor[node]
                is_over[node] = is_over[node] or mass < few
            found.extend(worth[inner:])
        return found

    def _latest_mass(self, tree: int, node: int) -> int:
        inner = self.forest.inner
        first = last = node
        while first < inner:
            first, last = 2 * first + 1, 2 * last + 2
        start = tree * (inner + 1) - inner
        return sum(self.latest[start + first : start + last + 1])

    def __reduce__(self) -> tuple[Any, ...]:
        return _trees_kernel, (self.forest, self.window, self.latest[:], self.reference[:], self.counter)


def _trees_kernel(
    forest: Forest, window: int, latest: "array[int]", reference: "array[int]", counter: int
) -> TreesKernel:
    kernel = TreesKernel(forest, window)
    kernel.restore(latest, reference, counter)
    return kernel
