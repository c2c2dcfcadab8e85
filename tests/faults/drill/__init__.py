"""The drill: every fault of the programme, one after another, on a real system under load; then each message is
accounted for.

In: a seed. Out: a table, one row a fault, and an exit code that is 0 only where nothing was lost, doubled or unequal
and every fault bit. Rows use devices of their own, so that any of them can be run alone; the seed replays them.
`fleet.py` (devices, and what was acknowledged to them) and `oracle.py` (the account) import nothing of Weir's.
Run it with `python -m tests.faults.drill --help`.
"""
