"""Bridge: carries MQTT messages into Kafka.

In: MQTT QoS 1 under `weir/v1/#` and the topics that routes add; one persistent session.
Out: one record on `telemetry.raw` for each message, refused ones too, and `telemetry.status` for what devices say of
themselves. Guarantee: a PUBACK leaves, in receive order, only when Kafka has the record for good; what is not
acknowledged the broker sends again, so nothing is lost and a repeat carries `mqtt-dup`.
"""
