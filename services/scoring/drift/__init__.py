"""Drift: has what a model describes moved, or does the model fit worse than it did?

In: a device's readings and scores, sampled once a minute; the hourly means of all of a tenant's devices of one type.
Out: findings, with a statistic and the step that a person is advised to take; nothing is ever reset by itself, but the
tests. Bounded memory, exact from the log: what is kept is plain data that a snapshot carries.
"""
