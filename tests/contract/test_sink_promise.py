"""What the sink promises, whatever happens between two of its steps: nothing is acknowledged that is not stored."""

from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest
from knife import Killed, Knife
from sink_fakes import FakeGraveyard, FakeLog, FakeSource, FakeWriter

from schemas import topics
from schemas.anomaly import Anomaly, AnomalyPhase
from schemas.reasons import Reason, Stage
from schemas.telemetry import Clean, Severity, TimeSource
from services.runtime.backoff import Backoff
from services.runtime.errors import Poison
from services.runtime.health import Health
from services.sink.influx_state import InfluxState
from services.sink.loop import Limits, Sink
from services.sink.outcomes import Outcome, Verdict
from services.sink.readers import readers

AT_US = 1_700_000_000_000_000
LATER = Outcome(Verdict.LATER, "HTTP 503: away")
MISCONFIGURED = Outcome(Verdict.MISCONFIGURED, "HTTP 401: unauthorized")


def clean(n: int, **values: float) -> bytes:
    return msgspec.json.encode(
        Clean(
            id=f"acme/pump-1/{n}",
            tenant="acme",
            site="berlin",
            device="pump-1",
            device_type="generic",
            event_us=AT_US + n,
            received_us=AT_US + n,
            time_source=TimeSource.DEVICE,
            sent_ts=n,
            seq=None,
            values=values or {"temperature": float(n), "pressure": 1.0},
        )
    )


def anomaly(revision: int, phase: AnomalyPhase) -> bytes:
    return msgspec.json.encode(
        Anomaly(
            id=f"a:{revision}",
            anomaly="a",
            revision=revision,
            phase=phase,
            tenant="acme",
            site="berlin",
            device="pump-1",
            device_type="generic",
            opened_us=AT_US,
            event_us=AT_US + revision,
            end_us=AT_US + revision if phase is AnomalyPhase.CLOSED else None,
            score=0.9,
            peak=0.5 + revision / 10,
            severity=Severity.WARNING,
            culprit="temperature",
            culprits=[],
            sentence="hot",
        )
    )


def a_log() -> FakeLog:
    """Good records, an anomaly from opening to close, a record that is none, and readings that the database refuses."""
    log = FakeLog()
    log.append(topics.CLEAN, 0, *(clean(n) for n in range(4)), b"not a record", clean(4, good=1.0, bad=2.0, fine=3.0))
    log.append(topics.CLEAN, 1, clean(10), None, clean(11, bad=1.0))
    log.append(topics.ANOMALIES, 0, anomaly(0, AnomalyPhase.OPENED), anomaly(1, AnomalyPhase.UPDATED))
    log.append(topics.ANOMALIES, 0, anomaly(2, AnomalyPhase.CLOSED))
    return log


class World:
    """What outlives a sink, and a way to start one."""

    def __init__(self) -> None:
        self.log = a_log()
        self.writer = FakeWriter()
        self.graveyard = FakeGraveyard()
        self.health = Health()
        self.stop = False
        self.now_s = 0.0

    def sink(self, knife: Callable[[], None] = lambda: None, batch_lines: int = 3) -> tuple[Sink, FakeSource]:
        source = FakeSource(self.log, knife)
        source.on_commit = self.check_commits
        self.writer.knife = self.graveyard.knife = knife
        sink = Sink(
            source=source,
            writer=self.writer,
            graveyard=self.graveyard,
            readers=readers(),
            limits=Limits(batch_lines, 0.0),
            influx_state=InfluxState(self.health, Backoff(first_s=0.0, limit_s=0.0)),
            beat=lambda: None,
            should_stop=lambda: self.stop,
            clock_s=lambda: self.now_s,
        )
        return sink, source

    def run(self, sink: Sink) -> None:
        for _ in range(100):
            if self.log.all_acknowledged():
                return
            sink.turn()
        pytest.fail("the sink does not get to the end of the log")

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds

    def check_commits(self) -> None:
        """Nothing is acknowledged that is neither stored nor buried."""
        for partition, next_offset in self.log.committed.items():
            for record in self.log.partitions[partition][:next_offset]:
                assert self.is_safe(record), f"{partition} acknowledged up to {next_offset}: {record} is nowhere"

    def is_safe(self, record) -> bool:
        where = f"{record.topic()}:{record.partition()}:{record.offset()}:"
        buried = [letter for letter in self.graveyard.letters if letter.startswith(where)]
        try:
            bucket, lines = readers()[record.topic()](record.value())
        except Poison:
            return len(buried) == 1
        stored = [(bucket, line.split(b" ")[0], line.split(b" ")[-1]) in self.writer.points for line in lines]
        return all(stored) or (sum(stored) + len(buried) == len(lines))


def results(world: World) -> tuple:
    return world.writer.points, world.graveyard.letters, world.log.committed


@pytest.fixture
def undisturbed() -> World:
    world = World()
    world.run(world.sink()[0])
    return world


def test_every_record_is_stored_or_buried_and_then_acknowledged(undisturbed: World):
    points, letters, _ = results(undisturbed)
    assert len([key for key in points if b"readings" in key[1]]) == 5 * 2 + 2
    assert sorted(letters) == [
        "telemetry.clean:0:4:0",
        "telemetry.clean:0:5:1",
        "telemetry.clean:1:1:0",
        "telemetry.clean:1:2:0",
    ]
    assert undisturbed.log.all_acknowledged()


def test_an_anomaly_is_one_point_with_its_latest_state(undisturbed: World):
    [(key, fields)] = [(k, f) for k, f in undisturbed.writer.points.items() if b"anomalies" in k[1]]
    assert key[0] == "telemetry_long"
    assert (fields[b"open"], fields[b"peak"]) == (b"0.0", b"0.7")


def test_a_dead_letter_tells_where_it_comes_from_and_why(undisturbed: World):
    line = undisturbed.graveyard.letters["telemetry.clean:0:5:1"]
    record = undisturbed.graveyard.letters["telemetry.clean:0:4:0"]
    assert (line.reason, line.stage, line.index) == (Reason.SINK_REFUSED, Stage.SINK, 1)
    assert (line.tenant, line.site, line.device, line.sensor) == ("acme", "berlin", "pump-1", "bad")
    assert line.detail.startswith("HTTP 400: type conflict; line: readings,tenant=acme")
    assert line.payload == undisturbed.log.partitions[topics.CLEAN, 0][5].value()
    assert (record.tenant, record.device, record.sensor, record.payload) == ("acme", "pump-1", None, b"not a record")
    assert "not a record of its topic" in record.detail


@pytest.mark.parametrize("batch_lines", [1, 3, 1000])
def test_a_kill_at_any_step_changes_no_result(undisturbed: World, batch_lines: int):
    count = Knife()
    world = World()
    world.run(world.sink(count, batch_lines)[0])
    assert count.cuts > 20
    for cut in range(1, count.cuts + 1):
        world = World()
        with pytest.raises(Killed):
            world.run(world.sink(Knife(cut), batch_lines)[0])
        world.check_commits()
        world.run(world.sink(batch_lines=batch_lines)[0])
        assert results(world) == results(undisturbed), f"killed at step {cut}"


def test_two_kills_at_any_steps_change_no_result(undisturbed: World):
    for first in range(1, 40, 3):
        for second in range(1, 40, 5):
            world = World()
            for cut in (first, second):
                try:
                    world.run(world.sink(Knife(cut))[0])
                except Killed:
                    continue
            world.run(world.sink()[0])
            assert results(world) == results(undisturbed), f"killed at steps {first} and {second}"


@pytest.mark.parametrize("trouble", [LATER, MISCONFIGURED])
def test_an_outage_loses_nothing_and_acknowledges_nothing_meanwhile(undisturbed: World, trouble: Outcome):
    world = World()
    world.writer.trouble = [trouble] * 30
    sink, source = world.sink()
    world.run(sink)
    assert source.idles >= 30
    assert results(world) == results(undisturbed)


def test_readiness_says_what_the_sink_waits_for():
    world = World()
    sink, source = world.sink()
    world.writer.trouble = [MISCONFIGURED]
    seen: list[dict[str, str]] = []
    idle = source.idle

    def look_and_idle(seconds):
        seen.append(world.health.unready())
        return idle(seconds)

    source.idle = look_and_idle
    sink.greet()
    assert seen == [{"influxdb": "HTTP 401: unauthorized"}]
    assert world.health.unready() == {}


def test_what_another_sink_takes_over_is_left_to_it(undisturbed: World):
    world = World()
    world.writer.trouble = [LATER]
    sink, source = world.sink()
    source.lost_while_idle = [(topics.CLEAN, 0)]
    for _ in range(20):
        sink.turn()
    assert (topics.CLEAN, 0) not in world.log.committed
    assert world.log.committed[topics.CLEAN, 1] == 3
    world.run(world.sink()[0])
    assert results(world) == results(undisturbed)


def test_asked_to_leave_while_it_waits_the_sink_leaves_and_acknowledges_nothing(undisturbed: World):
    world = World()
    world.writer.trouble = [LATER] * 10
    world.stop = True
    world.sink()[0].turn()
    assert world.log.committed == {}
    assert len(world.writer.trouble) == 9
    world.stop = False
    world.writer.trouble = []
    world.run(world.sink()[0])
    assert results(world) == results(undisturbed)


def test_a_slow_dead_letter_topic_holds_up_the_acknowledgement_only():
    world = World()
    world.graveyard.slow = True
    sink, source = world.sink()
    world.run(sink)
    assert source.idles == 4


def test_a_backlog_is_written_in_whole_batches_and_not_in_remainders():
    world = World()
    world.log = FakeLog()
    world.log.append(topics.CLEAN, 0, *(clean(n) for n in range(4000)))
    sizes: list[int] = []
    write = world.writer.write
    world.writer.write = lambda bucket, lines: sizes.append(len(lines)) or write(bucket, lines)
    world.run(world.sink(batch_lines=5000)[0])
    assert sizes == [4000, 4000]


def test_records_without_lines_fill_a_batch_as_lines_do():
    world = World()
    world.log = FakeLog()
    world.log.append(topics.CLEAN, 0, *(b"not a record" for _ in range(6000)))
    sink, _ = world.sink(batch_lines=2500)
    sink.turn()
    assert world.log.committed == {(topics.CLEAN, 0): 2000}
    assert len(world.graveyard.letters) == 2000


def a_long_bisection() -> World:
    """One batch in which every fifth reading is refused, by a database that takes 0.3 s for each write."""
    world = World()
    world.log = FakeLog()
    world.log.append(topics.CLEAN, 0, *(clean(n, good=1.0) for n in range(150)))
    world.log.append(topics.CLEAN, 1, *(clean(n, **{"bad" if n % 2 else "good": 1.0}) for n in range(150, 200)))
    world.writer.on_write = lambda: world.pass_time(0.3)
    return world


def test_a_batch_that_takes_hundreds_of_writes_does_not_cost_the_sink_its_place_in_the_group():
    world = a_long_bisection()
    sink, source = world.sink(batch_lines=1000)
    polled = [0.0]
    source.on_poll = lambda: polled.append(world.now_s)
    world.run(sink)
    assert world.writer.writes > 50
    assert max(later - earlier for earlier, later in pairwise([*polled, world.now_s])) < 1.5
    assert sorted(world.graveyard.letters) == sorted(f"telemetry.clean:1:{n}:0" for n in range(1, 50, 2))
    assert len(world.writer.points) == 175


def test_what_another_sink_takes_over_amid_a_long_bisection_is_left_to_it():
    undisturbed, world = a_long_bisection(), a_long_bisection()
    undisturbed.run(undisturbed.sink(batch_lines=1000)[0])
    sink, source = world.sink(batch_lines=1000)
    source.lost_while_idle = [(topics.CLEAN, 1)]
    sink.turn()
    assert world.log.committed == {}
    sink.turn()
    assert world.log.committed == {(topics.CLEAN, 0): 150}
    assert world.graveyard.letters == {}
    world.run(world.sink(batch_lines=1000)[0])
    assert results(world) == results(undisturbed)
