"""Alerts: turns anomalies and aggregates into alarms, by rules that engineers write in YAML with CEL conditions.

In: `telemetry.anomalies`, `telemetry.aggregates`. Out: `alerts.events`, and notifications by log, webhook and MQTT.
Guarantee: one alarm per (rule, device), raised and cleared by event time alone, so a replay gives the same ids
and whoever takes over writes no event again;
a notification goes out at least once under its event's id, twice only if a kill fell between sending and recording.
"""
