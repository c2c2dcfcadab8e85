"""What to do about a dead letter, by its reason. Pure."""

from collections.abc import Mapping
from typing import Final

from schemas.reasons import Reason

FIX: Final[Mapping[Reason, str]] = {
    Reason.TOO_LARGE: "let the device send less at once, or raise WEIR_BRIDGE__MAX_PAYLOAD_BYTES (10,000 readings a"
    " message stay the most); where the bridge cut the payload, only the device can send it again",
    Reason.UNROUTABLE: "add a route for its MQTT topic (WEIR_BRIDGE__ROUTES_FILE and WEIR_STREAM__ROUTES_FILE), start"
    " both again, then replay",
    Reason.BAD_TOPIC: "correct the id in the device's MQTT topic; or give a route that takes the id from another level,"
    " then replay",
    Reason.NOT_UTF8: "correct the device's encoding; replaying helps only once a route's decoder reads these bytes",
    Reason.MALFORMED: "correct the device; replaying helps only once a route's decoder reads these bytes",
    Reason.TOO_DEEP: "correct the device: readings need four levels of nesting",
    Reason.WRONG_SHAPE: 'correct the device: {"ts": ..., "seq": ..., "values": {"temperature": 21.5}}, flat, or an'
    " array of these; replaying helps only once a route's decoder reads this",
    Reason.NOT_A_NUMBER: "correct the device; for true and false declare `boolean: true` in its device type"
    " (WEIR_STREAM__DEVICE_TYPES_FILE), start the stream again, then replay",
    Reason.BAD_SENSOR: "rename the sensor: A-Z, a-z, 0-9 and _.:/- , at most 64 characters",
    Reason.BAD_TIME: "set the device's clock; a time is judged by when the message first came, so that replaying it"
    " changes nothing",
    Reason.TIME_COLLISION: "let the device send `seq`: then readings of one time stay apart",
    Reason.OUT_OF_RANGE: "if the reading is right, widen `low`, `high` or `max_rate_per_s` of its device type"
    " (WEIR_STREAM__DEVICE_TYPES_FILE), start the stream again, then replay",
    Reason.LATE: "set `accept_late: true` in its device type (WEIR_STREAM__DEVICE_TYPES_FILE), start the stream again,"
    " then replay",
    Reason.IDENTITY_MISMATCH: "correct the device, or its account at the MQTT broker: payload and topic name different"
    " devices",
    Reason.DEVICE_BUDGET: "if the devices are real, raise WEIR_STREAM__DEVICES_PER_TENANT or"
    " DEVICES_PER_PARTITION, whichever the detail names (a device at too many sites: publish from fewer), start the"
    " stream again, then replay",
    Reason.SENSOR_BUDGET: "if the sensors are real, raise WEIR_STREAM__SENSORS_PER_DEVICE, SENSORS_PER_TENANT or"
    " SENSORS_PER_PARTITION, whichever the detail names, start the stream again, then replay",
    Reason.SINK_REFUSED: "InfluxDB's own words are in the detail: correct the bucket or the field's type there, then"
    " replay (readings and scores; a window or anomaly is not sent again, its next revision would be overwritten)",
}
"""Reason -> what would fix it, and whether a replay then helps."""
