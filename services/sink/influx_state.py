"""Whether InfluxDB answers: said once when it stops and once when it is back, in the log and in readiness."""

from services.runtime import logging
from services.runtime.backoff import Backoff
from services.runtime.health import Health
from services.sink.outcomes import Outcome, Verdict

log = logging.get("sink")

_FIX = "check WEIR_INFLUX__URL, __TOKEN, __ORG, __BUCKET and __BUCKET_LONG, and that the buckets exist; the sink waits"


class InfluxState:
    """What the writes so far say about InfluxDB, and how long to wait before the next."""

    def __init__(self, health: Health, backoff: Backoff | None = None) -> None:
        self._health = health
        self._backoff = backoff or Backoff(limit_s=5.0)
        self._verdict: Verdict | None = None
        health.wait_for("influxdb", "not written to yet")

    def answered(self) -> None:
        """It took or refused lines: it is there."""
        if self._verdict in (Verdict.LATER, Verdict.MISCONFIGURED):
            log.info("influxdb_back")
        self._verdict = Verdict.STORED
        self._backoff.reset()
        self._health.has("influxdb")

    def declined(self, outcome: Outcome) -> float:
        """It did not take the lines; returns the seconds to wait."""
        if self._verdict is not outcome.verdict:
            if outcome.verdict is Verdict.MISCONFIGURED:
                log.warning("influxdb_misconfigured", answer=outcome.why, fix=_FIX)
            else:
                log.warning("influxdb_unavailable", why=outcome.why)
        self._verdict = outcome.verdict
        self._health.wait_for("influxdb", outcome.why)
        return self._backoff.next_s(outcome.retry_after_s)
