"""Hotelling's T2: how far from the usual several numbers lie together, and which of them makes it so. Pure.

Elementwise throughout, so that every machine gives the same bits. T2: Hotelling (1931); the blame: Mason, Tracy and
Young (1995), each number given all others; the inverse of what is no covariance: Gill and Murray (1974).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

FARTHEST = 1e100
_FARTHEST_DEVIATIONS = 1e60
_SHRINKAGE = 0.02
_LEAST_VARIANCE = 1e-9
_LEAST_PIVOT = 0.01


class Precision(NamedTuple):
    """A covariance, inverted: the numbers' deviations, and the inverse of their correlations."""

    deviations: Numbers
    inverse: Numbers


def precision_of(covariance: Numbers) -> Precision:
    """The precision of a covariance (its entries in [-1e200, 1e200]) whose variances are made 2 % and 1e-9 larger.

    Entries that were learnt over different rows (sensors were missing) need not be a covariance together. Variances are
    then raised until they are one: T2 is never negative, and what is left of a variance never next to nothing.
    """
    variances = np.diagonal(covariance)
    deviations = np.sqrt(variances + (variances * _SHRINKAGE + _LEAST_VARIANCE))
    correlations = np.clip(covariance / np.multiply.outer(deviations, deviations), -1.0, 1.0)
    np.fill_diagonal(correlations, 1.0)
    return Precision(deviations, _inverse(correlations))


def statistic_of(away: Numbers, precision: Precision) -> float:
    """T2 over the count of numbers, in [0, 1e100]; `away`: how far each is from its usual."""
    far = _in_deviations(away, precision)
    squares = float((far * (precision.inverse * far).sum(1)).sum())
    return min(max(0.0, squares / len(away)), FARTHEST)


def blame_of(away: Numbers, precision: Precision) -> Numbers:
    """Each number's part in T2, in [0, 1]; they add up to 1, or are all 0 where nothing is away.

    A number's part is by how far T2 would fall, were the number what the others let expect.
    """
    pulls: Numbers = np.abs((precision.inverse * _in_deviations(away, precision)).sum(1))
    largest = pulls.max()
    if largest == 0.0:
        return pulls
    falls = (pulls / largest) ** 2 / np.diagonal(precision.inverse)  # parts of the largest: squares are finite
    parts: Numbers = falls / falls.sum()
    return parts


def _in_deviations(away: Numbers, precision: Precision) -> Numbers:
    return np.clip(away / precision.deviations, -_FARTHEST_DEVIATIONS, _FARTHEST_DEVIATIONS)


def _inverse(correlations: Numbers) -> Numbers:
    """Gauss and Jordan's. A pivot that no correlations have is made large enough to go on with (none of a true one is).

    Those of true correlations, shrunk by 2 %, are over 0.019 and over the square of what stands beside them.
    """
    count = len(correlations)
    work = np.concatenate([correlations, np.eye(count)], axis=1)
    for i in range(count):
        beside = np.abs(work[i, i + 1 : count]).max(initial=0.0)
        work[i, i] = max(work[i, i], beside * beside, _LEAST_PIVOT)
        pivot = work[i] / work[i, i]
        column = work[:, i].copy()
        column[i] = 0.0
        work -= np.multiply.outer(column, pivot)
        work[i] = pivot
    return work[:, count:]
