"""Runs of one and the same value: stuck for longer than ever?"""

from typing import Final

from services.scoring.band import Band
from services.scoring.state import register_fields
from services.scoring.views.view import Moment, View

_SILENT_RUNS: Final = 20
_SHORTEST_NEWS: Final = 30.0


class RunView(View):
    """Forgetting record of how many readings in a row said the same. A run counts once it has ended.

    Its width is 30 readings at least, so a signal that never repeats itself is stuck after some twenty to a hundred
    equal readings, by its age; one that stands still for an hour at times is stuck after hours. Silent until 20 runs
    ended.
    """

    __slots__ = ("_next_length", "_value", "_weight", "band", "learnt", "length", "value")

    def __init__(self, weight: float) -> None:
        self.band = Band(1, _SILENT_RUNS, one_sided=True)
        self.learnt = 0
        self.length = 0
        self.value = 0.0
        self._weight = weight
        self._value = 0.0
        self._next_length = 0

    def evidence(self, value: float, moment: Moment) -> float:
        """How new the reading is; see `View`."""
        self._value = value
        length = self._next_length = self.length + 1 if value == self.value else 1
        if length <= self.band.high:
            return 0.0
        return self._weight * self.band.novelty(length, self.learnt, moment.allowance, 0.0, _SHORTEST_NEWS)

    def learn(self, moment: Moment) -> None:  # noqa: ARG002  a run needs no moment
        """Take it in; see `View`."""
        if self._next_length == 1 and self.length:
            self.learnt += 1
            if self.length > self.band.high:
                self.band.learn(float(self.length), self.learnt)
        self._push()

    def relax(self, fade: float, memory: float) -> None:
        """Shrink; see `View`."""
        self.band.relax(float(self.length), self.learnt, fade, memory)

    def hold(self, *, abrupt: bool) -> None:
        """Leave it out; see `View`."""
        if not abrupt:
            self.band.hold(float(self._next_length))
            self._push()

    def recover(self, moment: Moment) -> None:
        """Forget the excursion; see `View`."""

    def release(self, part: float, widths: float) -> None:
        """See `Band.release`."""
        self.band.release(part, widths)

    def _push(self) -> None:
        self.length = self._next_length
        self.value = self._value


register_fields(RunView, "run.1", "band", "learnt", "length", "value")
