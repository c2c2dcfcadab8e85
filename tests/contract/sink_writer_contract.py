"""What a writer promises, whichever database is behind it. Run on the fake here, on InfluxDB in integration."""

from typing import Protocol

import pytest

from services.sink.loop import Writer
from services.sink.outcomes import Verdict
from services.sink.storing import store

BUCKET = "telemetry"


class Database(Protocol):
    """What the tests see of a database from outside."""

    def values(self, device: str) -> dict[tuple[str, int], float]:
        """(field, ns) -> value, of measurement `readings`, sensor `temperature`."""
        ...


class WriterContract:
    """A subclass gives the fixtures `writer`, `database`, `device` (a fresh name) and `at_ns` (a time it may keep)."""

    @pytest.fixture
    def series(self, device: str) -> bytes:
        return b"readings,tenant=contract,site=s,device=%b,sensor=temperature" % device.encode()

    def test_what_is_stored_can_be_read(self, writer: Writer, database: Database, series, device, at_ns):
        lines = [b"%b value=%d.5 %d" % (series, n, at_ns + n) for n in range(5)]
        assert writer.write(BUCKET, lines).verdict is Verdict.STORED
        assert database.values(device) == {("value", at_ns + n): n + 0.5 for n in range(5)}

    def test_a_line_written_twice_is_one_point(self, writer: Writer, database: Database, series, device, at_ns):
        line = b"%b value=1.5 %d" % (series, at_ns)
        for _ in range(2):
            assert writer.write(BUCKET, [line, line]).verdict is Verdict.STORED
        assert database.values(device) == {("value", at_ns): 1.5}

    def test_the_later_line_of_a_point_wins(self, writer: Writer, database: Database, series, device, at_ns):
        writer.write(BUCKET, [b"%b value=1.0 %d" % (series, at_ns), b"%b value=2.0 %d" % (series, at_ns)])
        assert database.values(device) == {("value", at_ns): 2.0}
        writer.write(BUCKET, [b"%b value=3.0 %d" % (series, at_ns)])
        assert database.values(device) == {("value", at_ns): 3.0}

    def test_a_point_keeps_its_other_fields(self, writer: Writer, database: Database, series, device, at_ns):
        writer.write(BUCKET, [b"%b value=1.0 %d" % (series, at_ns)])
        writer.write(BUCKET, [b"%b other=2.0 %d" % (series, at_ns)])
        assert database.values(device) == {("value", at_ns): 1.0, ("other", at_ns): 2.0}

    def test_a_write_of_nothing_is_accepted(self, writer: Writer):
        assert writer.write(BUCKET, [b""]).verdict is Verdict.STORED

    def test_of_a_refused_write_all_but_the_guilty_lines_can_be_stored(
        self, writer: Writer, database: Database, series, device, at_ns
    ):
        lines = [b"%b value=%d.0 %d" % (series, n, at_ns + n) for n in range(9)]
        assert writer.write(BUCKET, lines[:1]).verdict is Verdict.STORED
        guilty = {3: b'%b value="text" %d', 4: b'%b value="text" %d', 7: b"%b value=bad %d"}
        for n, line in guilty.items():
            lines[n] = line % (series, at_ns + n)
        refusals = store(
            lines, lambda part: writer.write(BUCKET, part), lambda outcome: pytest.fail(str(outcome)), most_lines=100
        )
        assert [r.line for r in refusals] == sorted(guilty)
        assert all(r.why for r in refusals)
        assert database.values(device) == {("value", at_ns + n): float(n) for n in range(9) if n not in guilty}
