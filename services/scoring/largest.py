"""The largest T2 that sensors together have shown, of all of them and of all but one."""

from typing import Final

from services.scoring.hotelling import FARTHEST, Precision, statistics_without

_FORGET: Final = 0.9995
_FEWEST: Final = 2
_MOST_TIMES: Final = 1e12


class Largest:
    """The largest t met while learning (`value`), forgotten over some 2,000 rows; and how much less it would be.

    A mean of fewer squares scatters more, so t of some sensors must not be held against what t of all has been.
    `without`, by sensor: the largest t of all the others, over `value`. Where sensors are missing, t is taken `times`
    the inverse of what they have here: in the measure of all. So a device that loses a sensor is judged as one that
    never had it. For a sensor that has not been in use it is 1.
    """

    __slots__ = ("value", "without")

    def __init__(self) -> None:
        self.value = 1.0
        self.without: list[float] = []

    def times(self, use: list[int]) -> float:
        """What t of these sensors (in order) is to be multiplied with."""
        without = self.without
        if len(use) == len(without):
            return 1.0
        share = 1.0
        place = 0
        for j in range(len(without)):
            if place < len(use) and use[place] == j:
                place += 1
            else:
                share *= without[j]
        return min(1.0 / share, _MOST_TIMES) if share > 0.0 else _MOST_TIMES

    def learn(self, statistic: float, times: float, use: list[int], away: list[float], precision: Precision) -> None:
        """Take t of the sensors in `use` in, which was taken so many `times`; `away` and `precision` as it was made."""
        kept = self.value * _FORGET
        count = len(use)
        value = max(kept, statistic * times)
        if count >= _FEWEST:
            least = min([self.without[j] for j in use])
            if value > kept or statistic * times * count > (count - 1) * least * kept:
                self._learn_without(kept, value, times, use, statistics_without(away, precision))
        self.value = value

    def drop(self, place: int) -> float:
        """Forget a sensor, and take the rest as all that there are: what measures of t are now multiplied with."""
        times = self.without.pop(place)
        self.value *= times
        return times

    def _learn_without(self, kept: float, value: float, times: float, use: list[int], others: list[float]) -> None:
        if value <= 0.0:
            return
        for j, statistic in zip(use, others, strict=True):
            self.without[j] = max(self.without[j] * kept, min(statistic * times, FARTHEST)) / value
