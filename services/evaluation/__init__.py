"""Evaluation: what a model says of recorded data, at what cost, and whether another says it better.

In: CSV files, with labels where there are some, and model specs. Out: judgements (false and missed alarms, F1, cost per
reading, bytes of state) and an HTML report with pictures. One pass, every reading scored before it is learnt, one
configuration for all files, the same scorer as in the stream.
"""
