"""Page and Hinkley's test: has the mean of a series moved?"""

import msgspec


class PageHinkley(msgspec.Struct, array_like=True, gc=False):
    """Two-sided, after Page (1954) and Hinkley (1971); as in Gama et al., A survey on concept drift adaptation (2014).

    With x̄ the mean of all values so far and δ the tolerated change, the sum of x - x̄ - δ less its least value so far
    is `rise` (and likewise `fall`): near 0 while nothing moves, growing while something has. `rise_for`, `fall_for`:
    values since it was 0.
    """

    count: int = 0
    mean: float = 0.0
    rise: float = 0.0
    fall: float = 0.0
    rise_for: int = 0
    fall_for: int = 0

    def add(self, value: float, tolerated: float) -> None:
        """Take the next value."""
        self.count += 1
        self.mean += (value - self.mean) / self.count
        beyond = value - self.mean
        self.rise = max(0.0, self.rise + beyond - tolerated)
        self.fall = max(0.0, self.fall - beyond - tolerated)
        self.rise_for = self.rise_for + 1 if self.rise > 0.0 else 0
        self.fall_for = self.fall_for + 1 if self.fall > 0.0 else 0
