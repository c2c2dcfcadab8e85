"""Benchmarks: what Weir costs beside its rivals, in CPU seconds per million messages, each on the same messages.

In: a seeded workload, real servers on ports of their own. Out: `bench/results/latest.json` and, from it, the table and
the plot of docs/performance.md. A contender that does not put out what it should is an error, not a figure. Figures
are the machine's; the ratios within one run are ours.
"""
