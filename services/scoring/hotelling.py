"""Hotelling's T2: how far from the usual several numbers lie together, and which of them makes it so. Pure.

Plain loops in one order, so that every machine gives the same bits; compiled, they take a tenth of numpy's time for the
three or eight numbers that a device has. T2: Hotelling (1931); the blame: Mason, Tracy and Young (1995), each number
given all others; the inverse of what is no covariance: Gill and Murray (1974).
"""

from math import sqrt
from typing import Final

FARTHEST: Final = 1e100
_FARTHEST_DEVIATIONS: Final = 1e60
_SHRINKAGE: Final = 0.02
_LEAST_VARIANCE: Final = 1e-9
_LEAST_PIVOT: Final = 0.01


class Precision:
    """A covariance, inverted: the numbers' deviations, and the inverse of their correlations, by rows."""

    __slots__ = ("deviations", "inverse")

    def __init__(self, deviations: list[float], inverse: list[list[float]]) -> None:
        self.deviations = deviations
        self.inverse = inverse


def precision_of(covariance: list[list[float]]) -> Precision:
    """The precision of a covariance (its entries in [-1e200, 1e200]) whose variances are made 2 % and 1e-9 larger.

    Entries that were learnt over different rows (sensors were missing) need not be a covariance together. Variances are
    then raised until they are one: T2 is never negative, and what is left of a variance never next to nothing.
    """
    deviations: list[float] = []
    for i, row in enumerate(covariance):
        variance = row[i]
        deviations.append(sqrt(variance + (variance * _SHRINKAGE + _LEAST_VARIANCE)))
    correlations: list[list[float]] = []
    for i, row in enumerate(covariance):
        own = deviations[i]
        shares: list[float] = []
        for entry, other in zip(row, deviations, strict=True):
            shares.append(min(max(entry / (own * other), -1.0), 1.0))
        shares[i] = 1.0
        correlations.append(shares)
    return Precision(deviations, _inverse(correlations))


def statistic_of(away: list[float], precision: Precision) -> float:
    """T2 over the count of numbers, in [0, 1e100]; `away`: how far each is from its usual."""
    far = _in_deviations(away, precision)
    squares = 0.0
    for own, row in zip(far, precision.inverse, strict=True):
        pull = 0.0
        for entry, other in zip(row, far, strict=True):
            pull += entry * other
        squares += own * pull
    statistic = squares / len(far)
    if statistic > 0.0:
        return statistic if statistic < FARTHEST else FARTHEST
    return 0.0


def statistics_without(away: list[float], precision: Precision) -> list[float]:
    """T2 over their count of all numbers but each one, in turn; in [0, 1e100], for two numbers at least."""
    far = _in_deviations(away, precision)
    pulls = _pulls(far, precision)
    squares = 0.0
    for own, pull in zip(far, pulls, strict=True):
        squares += own * pull
    others: list[float] = []
    for i, pull in enumerate(pulls):
        rest = (squares - pull * pull / precision.inverse[i][i]) / (len(far) - 1)
        others.append(min(rest, FARTHEST) if rest > 0.0 else 0.0)
    return others


def blame_of(away: list[float], precision: Precision) -> list[float]:
    """Each number's part in T2, in [0, 1]; they add up to 1, or are all 0 where nothing is away.

    A number's part is by how far T2 would fall, were the number what the others let expect.
    """
    pulls = [abs(pull) for pull in _pulls(_in_deviations(away, precision), precision)]
    largest = max(pulls)
    if largest == 0.0:
        return pulls
    falls: list[float] = []
    total = 0.0
    for i, pull in enumerate(pulls):
        part = pull / largest  # parts of the largest: squares are finite
        fall = part * part / precision.inverse[i][i]
        falls.append(fall)
        total += fall
    return [fall / total for fall in falls]


def _pulls(far: list[float], precision: Precision) -> list[float]:
    pulls: list[float] = []
    for row in precision.inverse:
        pull = 0.0
        for entry, other in zip(row, far, strict=True):
            pull += entry * other
        pulls.append(pull)
    return pulls


def _in_deviations(away: list[float], precision: Precision) -> list[float]:
    far: list[float] = []
    for distance, deviation in zip(away, precision.deviations, strict=True):
        scaled = distance / deviation
        if not -_FARTHEST_DEVIATIONS <= scaled <= _FARTHEST_DEVIATIONS:
            scaled = _FARTHEST_DEVIATIONS if scaled > 0.0 else -_FARTHEST_DEVIATIONS
        far.append(scaled)
    return far


def _inverse(rows: list[list[float]]) -> list[list[float]]:
    """Gauss and Jordan's, in place. A pivot that no correlations have is made large enough to go on with.

    (None of true ones is: those, shrunk by 2 %, are over 0.019 and over the square of what stands beside them.)
    """
    for i in range(len(rows)):
        row = rows[i]
        beside = 0.0
        for entry in row[i + 1 :]:
            beside = max(beside, abs(entry))
        own = max(row[i], beside * beside, _LEAST_PIVOT)
        row[i] = 1.0
        pivot = [entry / own for entry in row]
        for k in range(len(rows)):
            if k == i:
                rows[k] = pivot
                continue
            row = rows[k]
            part = row[i]
            row[i] = 0.0
            left: list[float] = []
            for entry, taken in zip(row, pivot, strict=True):
                left.append(entry - part * taken)
            rows[k] = left
    return rows
