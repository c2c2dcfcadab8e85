"""Synchronous writes to InfluxDB 1.8 and 2.x (`/api/v2/write`) by influxdb-client; nothing else imports that library.

Its background batcher is not used: it gives up after 180 s and loses batches in a callback. Its points are not either:
they drop NaN fields silently and turn `1` into an integer.
"""

import time
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import urllib3
from influxdb_client import InfluxDBClient, WriteService
from influxdb_client.rest import ApiException

from schemas import influx
from services.runtime.settings import InfluxSettings
from services.sink import metrics
from services.sink.outcomes import STORED, Outcome, Verdict, outcome_of

_GZIP: Final = 31
"""zlib's word for "with a gzip header"."""
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class InfluxWriter:
    """Writes lines to a bucket and tells how it went; raises nothing for what server or network do."""

    def __init__(self, settings: InfluxSettings) -> None:
        self._client = InfluxDBClient(
            url=settings.url,
            # InfluxDB 1.8 without authentication takes any token, but the client wants one.
            token=settings.token.get_secret_value() if settings.token else "none",
            org=settings.org,
            timeout=round(settings.timeout_s * 1000),
            ssl_ca_cert=None if settings.ca_file is None else str(settings.ca_file),
        )
        self._service = WriteService(self._client.api_client)
        self._org = settings.org
        # Bytes that leave no machine cost less than to compress them here and expand them there.
        self._compressed = urllib3.util.parse_url(settings.url).host not in _HERE
        self.buckets: Mapping[str, str] = {
            influx.BUCKET: settings.bucket,
            influx.BUCKET_LONG: settings.bucket_long,
        }
        """Name in `schemas.influx` -> name at the server."""

    def write(self, bucket: str, lines: Sequence[bytes]) -> Outcome:
        """Write lines to a bucket (a name of `schemas.influx`), in one request, compressed for any other machine."""
        began = time.perf_counter()
        outcome = self._post(self.buckets[bucket], b"\n".join(lines))
        metrics.WRITE_SECONDS.observe(time.perf_counter() - began)
        metrics.WRITES.labels(reason=outcome.verdict.value).inc()
        return outcome

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _post(self, bucket: str, body: bytes) -> Outcome:
        try:
            self._service.post_write(
                self._org,
                bucket,
                zlib.compress(body, 1, _GZIP) if self._compressed else body,
                precision="ns",
                content_encoding="gzip" if self._compressed else "identity",
                content_type="text/plain; charset=utf-8",
            )
        except ApiException as error:
            if error.status:
                return outcome_of(error.status, error.headers or {}, error.body or "", datetime.now(UTC))
            return Outcome(Verdict.LATER, f"no answer: {error.reason}")
        except urllib3.exceptions.HTTPError as error:
            return Outcome(Verdict.LATER, f"no answer: {type(error).__name__}: {error}")
        except UnicodeDecodeError:
            return Outcome(Verdict.LATER, "the answer is not UTF-8: not InfluxDB's, but that of something in between")
        return STORED
