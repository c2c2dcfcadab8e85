"""kill -9 between two steps of a service that runs over fakes."""


class Killed(BaseException):
    """kill -9: nothing of the service runs after it."""


class Knife:
    """Kills at the n-th cut; each port call is cut before and after its effect."""

    def __init__(self, at: int = 0) -> None:
        self.cuts = 0
        self._at = at

    def __call__(self) -> None:
        self.cuts += 1
        if self.cuts == self._at:
            raise Killed
