"""The bridge's metrics, made of the forwarder's counts once a second."""

from prometheus_client import Counter, Gauge

from services.bridge.forwarder import Counts, Forwarder

RECEIVED = Counter(
    "weir_bridge_received_messages_total",
    "MQTT messages received. Zero while devices publish: look at mqtt in /readyz.",
)
RECEIVED_BYTES = Counter("weir_bridge_received_bytes_total", "Payload bytes received.")
REDELIVERED = Counter(
    "weir_bridge_redelivered_messages_total",
    "Messages that the broker sent again (DUP). Rising steadily: the connection or Kafka breaks off again and again.",
)
DURABLE = Counter("weir_bridge_durable_records_total", "Records that Kafka holds for good.")
ACKNOWLEDGED = Counter("weir_bridge_acknowledged_messages_total", "PUBACKs sent; follows received.")
REFUSED = Counter(
    "weir_bridge_refused_records_total",
    "Records that Kafka reported as failed; each is tried again. Rising: check the topic's limits and our rights.",
)
DROPPED = Counter(
    "weir_bridge_dropped_messages_total",
    "Messages not carried on: retained copies of telemetry (old news; publish without retain), or QoS 0 with nowhere"
    " to wait while Kafka is away (publish with QoS 1).",
    ["reason"],
)
SESSIONS_LOST = Counter(
    "weir_bridge_lost_sessions_total",
    "Reconnects that found no session: the broker forgot what it had queued. Check its persistence and session expiry.",
)
CONNECTIONS = Counter(
    "weir_bridge_connections_total", "Times the bridge has connected to the MQTT broker. Rising: look at the network."
)
FAILED_CONNECTIONS = Counter(
    "weir_bridge_failed_connections_total",
    "Connections to the MQTT broker that failed or broke. `credentials`, `tls`: a person must act, see mqtt in /readyz."
    " `away`: look at broker and network.",
    ["reason"],
)
UNACKED = Gauge(
    "weir_bridge_unacked_messages",
    "Messages received and not yet durable in Kafka. Stuck at the receive maximum: Kafka is slow or away.",
)
WAITING = Gauge(
    "weir_bridge_waiting_records", "Records that Kafka's producer has no room for, or that are to be tried again."
)

_COUNTERS = {
    "received": RECEIVED,
    "received_bytes": RECEIVED_BYTES,
    "redelivered": REDELIVERED,
    "durable": DURABLE,
    "acknowledged": ACKNOWLEDGED,
    "refused": REFUSED,
    "retained": DROPPED.labels("retained"),
    "dropped_qos0": DROPPED.labels("qos0"),
}


class Meter:
    """Carries a forwarder's counts over into the metrics."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._shown = Counts()

    def show(self) -> None:
        """Bring the metrics up to date."""
        counts, shown = self._forwarder.counts, self._shown
        for name, counter in _COUNTERS.items():
            now = getattr(counts, name)
            counter.inc(now - getattr(shown, name))
            setattr(shown, name, now)
        UNACKED.set(self._forwarder.unacked)
        WAITING.set(self._forwarder.waiting)
