"""Scoring: how unusual a device's readings are, learnt online; a library without I/O.

In: event time, sensor values, in log order, one pass, score before learn. Out: a score in [0, 1] for the device and for
each sensor (0.5 is the alarm line), the expected band, and who is to blame.
Guarantee: the same readings give the same bytes, whatever the batching; state is bounded and packed by us.
"""
