"""What alerts measure of themselves."""

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter("weir_alerts_records_total", "Records read. Flat while the stream works: look at lag.", ["topic"])
IGNORED = Counter(
    "weir_alerts_ignored_records_total",
    "Records without effect: repeat (normal after a restart), older (out of event-time order), provisional (window"
    " still open), undecodable (somebody else writes to the topic, or the stream is newer: look at the log).",
    ["topic", "reason"],
)
EVENTS = Counter(
    "weir_alerts_events_total", "Alarm events written, by phase. A jump: an incident, or a rule too eager.", ["reason"]
)
LAG = Gauge("weir_alerts_lag_records", "Records not read yet. Growing: too slow; start another worker.", ["topic"])
ACTIVE = Gauge("weir_alerts_active_alarms", "Alarms raised and not cleared, of this worker's partitions.")
DEVICES = Gauge(
    "weir_alerts_devices",
    "Devices that something is remembered of; forgotten 7 d after their last record. Rising without end: somebody"
    " invents devices (the stream's device budget bounds it).",
)
RULE_ERRORS = Counter(
    "weir_alerts_rule_errors_total",
    "Conditions without a value (division by zero, null in a calculation). Rising: the log names the rule; correct it.",
)
SENT = Counter("weir_alerts_notifications_sent_total", "Notifications that a channel has taken.", ["reason"])
FAILURES = Counter(
    "weir_alerts_notification_failures_total",
    "Attempts that will be made again, by channel. Rising: the webhook or the MQTT broker is away.",
    ["reason"],
)
DROPPED = Counter(
    "weir_alerts_notifications_dropped_total",
    "Notifications that nobody gets: full (the channel was away for too long), refused (the receiver will never take"
    " it), not_configured (the channel was taken out of the settings). The alarm is still on alerts.events.",
    ["reason"],
)
PENDING = Gauge("weir_alerts_pending_notifications", "Notifications not yet sent. Growing: a channel is away.")
IN_FLIGHT = Gauge(
    "weir_alerts_notifications_in_flight",
    "Notifications being sent, by channel. Stuck at the channel's limit: it answers slowly, or not at all.",
    ["reason"],
)
LATENESS = Histogram(
    "weir_alerts_event_to_sent_seconds",
    "From reading the record that decided to the channel's yes. Over 5 s: a channel is slow, or Kafka.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
)
CHECKPOINTS = Counter("weir_alerts_checkpoints_total", "Offsets committed behind durable state. Flat: nothing is read.")
