"""Benchmarks: what each stage costs, in CPU seconds per million messages, beside a plain loop doing the same work.

In: real servers on ports of their own. Out: one line of JSON a measurement, and a table. Compare within one run only:
absolute figures are the machine's, the ratios are ours.
"""
