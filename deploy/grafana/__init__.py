"""Grafana: data sources, and dashboards as code.

In: the InfluxDB layout of `schemas/influx.py` and the services' metric names. Out: `dashboards/*.json`, which Grafana
9.4 and newer reads by `provisioning/`; written by `python -m deploy.grafana.dashboards`.
Guarantee: a test runs each query on a real InfluxDB with results in it, and a panel that shows nothing fails.
"""
