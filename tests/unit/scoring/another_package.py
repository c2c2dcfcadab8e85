"""What a package would hold that offers a model of its own: a River detector, its state, and a part that names it."""

from river.base import AnomalyDetector

from services.scoring.parts.registry import Model, Parameter
from services.scoring.state import register_fields


class Jump(AnomalyDetector):
    """How far the level is from the one learnt last."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.last = 0.0

    def score_one(self, x: dict[str, float]) -> float:
        return self.factor * abs(x["level"] - self.last)

    def learn_one(self, x: dict[str, float]) -> None:
        self.last = x["level"]


register_fields(Jump, "another_package.jump.1", "last")
PART = Model(
    name="jump",
    says="how far the level is from the one before",
    build=Jump,
    parameters={"factor": Parameter(1.0, 0.1, 10.0, "by which it counts")},
)
