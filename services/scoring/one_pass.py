"""River's models with a `Kernel` inside: the same parameters and the same scores, at a fraction of the cost.

Subclasses, so they go wherever River's own go; the tests hold them to River's numbers, bit for bit.
"""

from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Any
from zlib import crc32

from river.anomaly import GaussianScorer, HalfSpaceTrees
from river.proba import Gaussian
from river.tree.base import Branch
from river.tree.padded import make_padded_tree

from services.scoring.kernel import Forest, GaussianKernel, TreesKernel

_PADDING = 0.15
"""River's: a split keeps this part of its range away from both ends."""


class OnePassGaussian(GaussianScorer):  # type: ignore[misc]  # River is untyped here
    """River's GaussianScorer over all readings (no window).

    Parameters
    ----------
    grace_period
        Readings before which the score is 0.

    Examples:
    --------
    >>> import random
    >>> rng = random.Random(42)
    >>> detector = OnePassGaussian()
    >>> for y in (rng.gauss(0, 1) for _ in range(100)):
    ...     detector.learn_one(None, y)
    >>> detector.score_one(None, -3)
    0.999477...

    """

    def __init__(self, grace_period: int = 100) -> None:  # River's own would build the objects that this does without
        self.window_size = None
        self.grace_period = grace_period
        self.kernel = GaussianKernel(grace_period)

    @property
    def gaussian(self) -> Gaussian:
        """What has been learnt, as River's distribution (a copy)."""
        kernel, distribution = self.kernel, Gaussian()
        variance = distribution._var  # noqa: SLF001 - no constructor takes the sum of squares
        variance.mean.n, variance.mean._mean, variance._S = kernel.n, kernel.mean, kernel.squares  # noqa: SLF001 - its fields
        return distribution

    def learn_one(self, x: object, y: float) -> None:  # noqa: ARG002 - River gives none either
        """See River's."""
        self.kernel.score(y, 0.0)
        self.kernel.learn()

    def score_one(self, x: object, y: float) -> float:  # noqa: ARG002 - River looks at y alone
        """See River's."""
        return self.kernel.score(y, 0.0)


class OnePassTrees(HalfSpaceTrees):  # type: ignore[misc]  # River is untyped here
    """River's HalfSpaceTrees, with masses in arrays; all with the same seed and features share their splits.

    Parameters
    ----------
    n_trees
        Number of trees.
    height
        Height of each tree, at most 15.
    window_size
        Readings, at most 65,535, over which masses are counted.
    limits
        The range of each feature; [0, 1] by default.
    seed
        Of the splits. Without one, each has splits of its own.

    """

    def __init__(
        self,
        n_trees: int = 10,
        height: int = 8,
        window_size: int = 250,
        limits: dict[Any, tuple[float, float]] | None = None,
        seed: int | None = None,
    ) -> None:  # River's own would keep a random generator for each sensor
        self.n_trees = n_trees
        self.height = height
        self.window_size = window_size
        self.limits = limits
        self.seed = seed
        self.kernel: TreesKernel | None = None

    def grow(self, *names: str) -> TreesKernel:
        """The kernel, with trees for these features, which the first row names in River."""
        shape = tuple(sorted(names)), self.n_trees, self.height, tuple(sorted((self.limits or {}).items()))
        forest = _grown(*shape, Random()) if self.seed is None else _shared(*shape, self.seed)
        kernel = self.kernel = TreesKernel(forest, self.window_size)
        return kernel

    def learn_one(self, x: Mapping[Any, float]) -> None:
        """See River's."""
        kernel = self.kernel or self.grow(*x)
        kernel.score_row(x)
        kernel.learn()

    def score_one(self, x: Mapping[Any, float]) -> float:
        """See River's."""
        return self.kernel.score_row(x) if self.kernel else 0.0


@cache
def _shared(
    names: tuple[str, ...], trees: int, height: int, limits: tuple[tuple[str, tuple[float, float]], ...], seed: int
) -> Forest:
    return _grown(names, trees, height, limits, Random(seed))


def _grown(
    names: tuple[str, ...], trees: int, height: int, limits: tuple[tuple[str, tuple[float, float]], ...], rng: Random
) -> Forest:
    """The splits that River grows."""
    features, thresholds, splits = [], [], []
    ranges = dict(limits)
    for _ in range(trees):
        first = {name: ranges.get(name, (0.0, 1.0)) for name in names}
        tree = make_padded_tree(limits=first, height=height, padding=_PADDING, rng=rng, r_mass=0, l_mass=0)
        for node in tree.iter_bfs():
            if isinstance(node, Branch):
                features.append(names.index(node.feature))
                thresholds.append(node.threshold)
        splits += [(node.feature, node.threshold) for node in tree.iter_dfs() if isinstance(node, Branch)]
    return Forest(names, trees, features, thresholds, crc32(repr(splits).encode()))
