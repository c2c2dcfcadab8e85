"""The contract: what flows through Weir, as one msgspec Struct per record on a topic.

In: nothing (this package imports nothing of ours). Out: records, topic names, MQTT topics, the InfluxDB layout,
dead-letter reasons; and, in `generated/`, the same as JSON Schema 2020-12 and AsyncAPI 3.
Guarantee: evolution is additive. Consumers ignore unknown fields; a breaking change is a new tag
(`clean.v2`), and `tests/contract` holds every change against the committed schemas.
"""
