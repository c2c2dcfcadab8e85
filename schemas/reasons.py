"""Why a message or reading could not be processed: a closed set, safe as a metric label."""

from enum import StrEnum


class Reason(StrEnum):
    """A dead letter's reason."""

    TOO_LARGE = "too_large"
    """Over the payload limit (the dead letter holds size, sha256 and the first 64 KiB), or over 10,000 readings."""
    UNROUTABLE = "unroutable"
    """No route places the MQTT topic."""
    BAD_TOPIC = "bad_topic"
    """A route matches, but a part of the topic is no valid tenant, site or device id."""
    NOT_UTF8 = "not_utf8"
    MALFORMED = "malformed"
    """Not JSON (or not the route's format); an empty payload too."""
    TOO_DEEP = "too_deep"
    """Nested deeper than the decoder follows."""
    WRONG_SHAPE = "wrong_shape"
    """Well-formed, but not a message of ours."""
    NOT_A_NUMBER = "not_a_number"
    """A value that is NaN, infinite, text or a container; the message's other readings go on."""
    BAD_SENSOR = "bad_sensor"
    BAD_TIME = "bad_time"
    """Older than 7 d, negative, or not a time."""
    TIME_COLLISION = "time_collision"
    """Same device, sensor and `ts`, no `seq`, another value."""
    OUT_OF_RANGE = "out_of_range"
    """Outside the range (or the rate of change) that the device type declares."""
    LATE = "late"
    """Older than the correction horizon, and the device type refuses late readings."""
    IDENTITY_MISMATCH = "identity_mismatch"
    """The payload claims another device than the topic."""
    DEVICE_BUDGET = "device_budget"
    SENSOR_BUDGET = "sensor_budget"
    SINK_REFUSED = "sink_refused"
    """InfluxDB refused the line for good."""


class Stage(StrEnum):
    """Where in the pipeline it was refused."""

    BRIDGE = "bridge"
    DECODE = "decode"
    CLEAN = "clean"
    SINK = "sink"
