"""The quiet rule: one alarm for one excursion, which hides no other."""

from services.scoring.calibration import Quiet, score_of


class Told:
    """A quiet rule that is told evidence, one reading a second, where the line is 1."""

    def __init__(self) -> None:
        self.quiet = Quiet()

    def alarms(self, *evidence: float) -> list[bool]:
        scores = [self.quiet.alarm_score(score_of(found, 1.0), found, 1.0, 1.0) for found in evidence]
        return [score >= 0.5 for score in scores]


def test_what_goes_on_is_one_alarm_until_it_is_three_times_as_loud():
    assert Told().alarms(2.0, 4.5, 5.9, 6.1) == [True, False, False, True]


def test_a_faint_alarm_that_goes_on_must_come_to_three_times_one_and_a_half():
    assert Told().alarms(1.1, 4.4, 4.6) == [True, False, True]


def test_another_excursion_twice_as_loud_is_an_alarm_of_its_own():
    assert Told().alarms(1.1, 0.2, 2.1, 2.3) == [True, False, False, True]


def test_another_excursion_is_measured_by_the_alarm_before_it_and_not_by_what_was_muted():
    assert Told().alarms(1.1, 0.2, 2.1, 0.2, 2.3) == [True, False, False, False, True]


def test_another_excursion_that_has_alarmed_goes_on_as_one():
    assert Told().alarms(1.1, 0.2, 2.3, 4.7, 6.8, 7.0) == [True, False, True, False, False, True]


def test_a_repeat_is_muted_for_five_minutes_and_then_told():
    told = Told()
    assert told.alarms(1.5) == [True]
    assert told.alarms(*[0.0] * 150, 1.5) == [False] * 151
    assert told.alarms(*[0.0] * 160, 1.5)[-1]
