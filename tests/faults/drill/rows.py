"""All rows, in the order of the table, and those of the short form."""

from tests.faults.drill import rows_kills
from tests.faults.drill.row import Row

ALL: tuple[Row, ...] = (*rows_kills.ROWS,)
SHORT = ("bridge-killed-while-kafka-away", "zombie-worker", "sink-killed-while-influxdb-away")
"""Between them these three catch every mutant."""
