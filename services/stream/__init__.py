"""Stream: telemetry.raw -> clean readings, aggregates, scores, anomalies, gaps and dead letters.

In: raw records of the partitions that this worker owns, in log order. Out: derived records, keyed by device.
`pipeline.py` is the pure core (no broker, clock or thread); `worker.py` is the order of outputs, state and commit;
`intake.py` and `app.py` connect both to Kafka inside a Faust app.
Guarantee: state advances exactly once per record; outputs may repeat after a crash, with the same `id` and bytes.
"""
