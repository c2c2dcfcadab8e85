"""What services report of themselves, as rates, lag, dead letters and the ledger."""

from __future__ import annotations

from console_records import NOON_US, report

from services.console.pulse import Pulse, adds_up, verdict
from services.stream.ledger import Ledger


def pulse_of(*reports):
    pulse = Pulse()
    for each in reports:
        pulse.add(each)
    return pulse


def stream(at_s=0.0, instance="host:1", received=0, decoded=0, redelivered=0, dead=None, partitions=4, **more):
    return report(
        "stream",
        instance,
        at_s,
        {"stream_messages_dead_lettered_total": dead or {}},
        stream_messages_received_total=received,
        stream_messages_decoded_total=decoded,
        stream_messages_redelivered_total=redelivered,
        stream_partitions=partitions,
        **more,
    )


def test_the_rate_is_taken_between_reports_and_unknown_from_one():
    first = report("bridge", at_s=0, bridge_received_messages_total=100)
    second = report("bridge", at_s=5, bridge_received_messages_total=160)
    assert pulse_of(first).vital("bridge").rate is None
    assert pulse_of(first, second).vital("bridge").rate == 12.0


def test_rates_and_lag_of_several_processes_are_added():
    pulse = pulse_of(
        *(
            report("sink", instance, at, sink_lines_written_total=at * 10, sink_lag_messages=3)
            for at in (0, 5)
            for instance in ("a:1", "b:2")
        )
    )
    vital = pulse.vital("sink")
    assert (vital.processes, vital.rate, vital.lag) == (2, 20.0, 6)


def test_a_worker_that_ended_no_longer_counts():
    pulse = pulse_of(stream(0, "a:1", received=100, decoded=100), stream(10, "b:2", received=150, decoded=150))
    assert pulse.ledger().received == 150
    assert pulse.vital("stream").processes == 1


def test_workers_that_share_the_partitions_are_added_up():
    pulse = pulse_of(stream(0, "a:1", received=100, decoded=100), stream(2, "b:2", received=50, decoded=49))
    assert pulse.ledger().received == 150
    assert verdict(pulse.ledger()) == "1 messages are missing"


def test_without_a_worker_that_owns_partitions_the_ledger_is_not_known():
    assert not Pulse().knows_ledger
    assert not pulse_of(stream(partitions=0)).knows_ledger
    assert pulse_of(stream(0, "a:1", partitions=0), stream(0, "b:1")).knows_ledger


def test_no_rate_is_told_across_a_rebalance():
    """A worker's counts are those of its partitions: gaining one is no leap in speed."""
    pulse = pulse_of(stream(0, received=100, partitions=2), stream(5, received=900_000, partitions=4))
    assert pulse.vital("stream").rate is None


def test_a_service_that_never_reported_has_no_vital_signs():
    assert pulse_of().vital("alerts") is None
    assert pulse_of().newest_us("alerts") is None
    assert pulse_of(report("alerts", at_s=1)).newest_us("alerts") == NOON_US + 1_000_000


def test_the_ledger_adds_up_when_every_message_is_accounted_for():
    pulse = pulse_of(stream(received=100, decoded=90, redelivered=3, dead={"malformed": 5, "too_deep": 2}))
    assert pulse.ledger() == Ledger(100, 90, 3, dead_messages={"malformed": 5, "too_deep": 2})
    assert adds_up(pulse.ledger())
    assert verdict(pulse.ledger()) == "adds up"


def test_the_ledger_says_what_is_missing_and_what_is_too_many():
    readings = {"stream_readings_decoded_total": 10, "stream_readings_stored_total": 12}
    ledger = pulse_of(stream(received=100, decoded=90, **readings)).ledger()
    assert not adds_up(ledger)
    assert verdict(ledger) == "10 messages are missing; 2 readings too many"


def test_dead_letters_are_counted_by_reason_over_stream_and_sink_most_first():
    pulse = pulse_of(
        stream(received=7, dead={"malformed": 2, "too_deep": 0}),
        report("sink", by_reason={"sink_dead_letters_total": {"sink_refused": 4}}),
    )
    assert pulse.dead_letters() == {"sink_refused": 4, "malformed": 2}


def test_what_came_after_all_is_not_missing():
    def gaps(instance, **by_phase):
        return report("stream", instance, 0.0, {"stream_gap_messages_total": by_phase})

    assert (
        pulse_of(gaps("a:1", missing=20, withdrawn=5, seq_jump=10**7), gaps("b:2", missing=3)).missing_messages() == 18
    )
    assert pulse_of().missing_messages() == 0
