"""Audit: both ledgers recomputed from outside, from what stands in Kafka and InfluxDB, without the stream's counters.

In: telemetry.raw, .clean, .dead-letter, .gaps; points of `readings`; to compare with, the ledgers of the state topic.
Out: an account, and every message or reading that is unaccounted for: where it stands, whose it is, what is missing.
Guarantee: memory is bounded by the messages of one pass; a larger range is read several times, each time for other
devices. What is still in flight is told apart by the offsets committed at the start; repeats count once, by their `id`.
"""
