"""Sink: writes what the derived topics carry to InfluxDB, for dashboards and for whoever asks later.

In: telemetry.clean, .scores, .aggregates, .anomalies, weir-metrics. Out: points as `schemas/influx.py` lays them out.
Guarantee: an offset is committed after InfluxDB has confirmed every line of its record, or the line that it refuses for
good lies in the dead letter: nothing is lost by a kill or an outage, and a replay overwrites the same points.
"""
