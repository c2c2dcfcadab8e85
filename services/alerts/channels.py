"""The channels: log, webhook, MQTT. Each sends under the event's id, so that a receiver can drop a repeat."""

import os
import queue
import socket
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import msgspec
import paho.mqtt.client as paho
import urllib3
from paho.mqtt.reasoncodes import ReasonCode
from pydantic import SecretStr

from schemas.alarm import AlarmPhase
from schemas.mqtt import alarms_topic
from services.alerts.courier import Answer, Carrier, Outcome
from services.alerts.outbox import Entry
from services.alerts.rules import Channel
from services.runtime import logging, mqtt
from services.runtime.errors import ConfigurationError
from services.runtime.health import Health
from services.runtime.settings import AlertsSettings

log = logging.get("alerts")

_encode = msgspec.json.Encoder().encode

RETRY_AFTER_LIMIT_S = 300.0
"""A receiver may ask for this much patience and no more."""
_LOG_EVENTS = {AlarmPhase.RAISED: "alarm_raised", AlarmPhase.CLEARED: "alarm_cleared"}
_NEVER = frozenset({400, 405, 413, 415, 422})
"""HTTP says: this content will never be taken. Anything else that is no 2xx may pass when somebody mends something."""


class LogChannel:
    """One line for each event."""

    channel = Channel.LOG
    parallel = 1000

    def __init__(self) -> None:
        self._answers: list[Answer] = []

    def send(self, entry: Entry) -> None:
        """Write the line."""
        event = entry.notification.event
        log.info(
            _LOG_EVENTS[event.phase],
            rule=event.rule,
            tenant=event.tenant,
            site=event.site,
            device=event.device,
            severity=event.severity,
            summary=event.summary,
            at_us=event.at_us,
            event_id=event.id,
        )
        self._answers.append(Answer(entry, Outcome.SENT))

    def answers(self) -> list[Answer]:
        """All that was written."""
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        """Nothing to let go of."""


class Webhook:
    """Posts the event as JSON; header `Idempotency-Key` is its id. The address is a secret: it may hold a token."""

    channel = Channel.WEBHOOK

    def __init__(self, url: SecretStr, timeout_s: float, parallel: int = 4) -> None:
        """Prepare; nothing is sent yet.

        Raises:
            ConfigurationError: The address is none.
        """
        self.parallel = parallel
        self._url = url
        try:
            parsed = urllib3.util.parse_url(url.get_secret_value())
        except urllib3.exceptions.LocationParseError:
            parsed = None
        if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host:
            raise ConfigurationError("WEIR_ALERTS__WEBHOOK_URL is no http:// or https:// address")
        self._headers = {"Content-Type": "application/json", "User-Agent": "weir-alerts"}
        if parsed.auth is not None:
            self._headers |= urllib3.make_headers(basic_auth=unquote(parsed.auth))
        self._pool = urllib3.PoolManager(maxsize=parallel, retries=False, timeout=urllib3.Timeout(total=timeout_s))
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="webhook")
        self._posts: list[Future[Answer]] = []

    def send(self, entry: Entry) -> None:
        """Post from a thread of this channel."""
        self._posts.append(self._threads.submit(self._post, entry))

    def answers(self) -> list[Answer]:
        """What the receiver has answered."""
        done = [post for post in self._posts if post.done()]
        self._posts = [post for post in self._posts if post not in done]
        return [post.result() for post in done]

    def close(self) -> None:
        """Wait for posts in flight, at most the timeout."""
        self._threads.shutdown(cancel_futures=True)
        self._pool.clear()

    def _post(self, entry: Entry) -> Answer:
        try:
            response = self._pool.request(
                "POST",
                self._url.get_secret_value(),
                body=_encode(entry.notification.event),
                headers=self._headers | {"Idempotency-Key": entry.id},
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            # The error's text holds the address.
            return Answer(entry, Outcome.AWAY, type(error).__name__)
        return _judged(entry, response)


def _judged(entry: Entry, response: urllib3.BaseHTTPResponse) -> Answer:
    if 200 <= response.status < 300:
        return Answer(entry, Outcome.SENT)
    detail = f"HTTP {response.status}"
    if response.status in _NEVER:
        return Answer(entry, Outcome.REFUSED, detail)
    asked = response.headers.get("Retry-After", "")
    retry_after_s = min(float(asked), RETRY_AFTER_LIMIT_S) if asked.isascii() and asked.isdigit() else None
    return Answer(entry, Outcome.AWAY, detail, retry_after_s)


class Mqtt:
    """Publishes the event as JSON to its device's alarms topic, QoS 1.

    Not retained: an event is news, not a state; a retained `cleared` would greet every subscriber for ever.
    """

    channel = Channel.MQTT
    parallel = 20

    def __init__(self, client: paho.Client, health: Health) -> None:
        self._client = client
        self._out = logging.Outage(log, "mqtt_unavailable", "mqtt_back")
        self._why: str | None = None
        """Why this try came to nothing, where that is known better than "lost"."""
        self._health = health
        self._acks: queue.SimpleQueue[tuple[int, ReasonCode]] = queue.SimpleQueue()
        self._in_flight: dict[int, Entry] = {}
        self._away: list[Answer] = []
        client.on_publish = self._on_publish
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        health.wait_for("mqtt", "not connected yet")

    def connect(self, host: str, port: int, keepalive_s: int) -> None:
        """Connect, and again after every loss, from paho's thread."""
        self._client.connect_async(host, port, keepalive_s)
        self._client.loop_start()

    def send(self, entry: Entry) -> None:
        """Publish, where the broker is there."""
        event = entry.notification.event
        if not self._client.is_connected():
            self._away.append(Answer(entry, Outcome.AWAY, "not connected"))
            return
        topic = alarms_topic(event.tenant, event.site, event.device)
        info = self._client.publish(topic, _encode(event), qos=1, retain=False)
        # Also with MQTT_ERR_NO_CONN: paho keeps the message and sends it after the reconnect.
        self._in_flight[info.mid] = entry

    def answers(self) -> list[Answer]:
        """What the broker has acknowledged."""
        answers, self._away = self._away, []
        for _ in range(self._acks.qsize()):
            mid, reason = self._acks.get_nowait()
            entry = self._in_flight.pop(mid, None)
            if entry is not None:
                outcome = Outcome.REFUSED if reason.is_failure else Outcome.SENT
                answers.append(Answer(entry, outcome, str(reason)))
        return answers

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_publish(self, _client: paho.Client, _userdata: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        self._acks.put((mid, reason))

    def _on_connect(
        self, _client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            # Said when the connection ends, which follows.
            self._why = mqtt.refused(str(reason), self._client.username).why
        else:
            self._why = None
            self._out.worked()
            self._health.has("mqtt")

    def _on_connect_fail(self, _client: paho.Client, _userdata: Any) -> None:
        # paho calls this while it handles the exception, and passes it to nobody.
        error = sys.exception()
        self._say_down(mqtt.failure(error).why if isinstance(error, OSError) else "no connection")

    def _on_disconnect(
        self, _client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        self._say_down(self._why or str(reason))
        self._why = None

    def _say_down(self, why: str) -> None:
        self._health.wait_for("mqtt", why)
        self._out.failed(why=why)


def configured(settings: AlertsSettings, health: Health) -> list[Carrier]:
    """The channels that the settings name: the log always, webhook and MQTT where they are set."""
    carriers: list[Carrier] = [LogChannel()]
    if settings.alerts.webhook_url is not None:
        carriers.append(Webhook(settings.alerts.webhook_url, settings.alerts.webhook_timeout_s))
    if settings.alerts.mqtt_alarms:
        # Workers of one group share the setting, and a broker lets only one client of a name in.
        client_id = f"{settings.alerts.client_id}-{socket.gethostname()}-{os.getpid()}"
        client = mqtt.client(settings.mqtt, client_id=client_id)
        channel = Mqtt(client, health)
        channel.connect(settings.mqtt.host, settings.mqtt.port, settings.mqtt.keepalive_s)
        carriers.append(channel)
    return carriers
