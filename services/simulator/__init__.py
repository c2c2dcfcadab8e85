"""Simulator: devices for trying, for the demo and for load; the logic of `weir replay`.

In: recordings (CSV files, or real data that ships inside River), replay options, faults to inject.
Out: MQTT messages as devices publish them (QoS 1, last will, retained status), labels of every anomaly as JSON lines.
Guarantee: the same recordings, options and seed give the same values, device by device; every message is counted, and
nothing is dropped but what a drop-out fault withholds; a reconnect sends again what was not acknowledged.
"""
