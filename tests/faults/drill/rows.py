"""All rows, in the order of the table, and those of the short form."""

from tests.faults.drill import rows_compound, rows_influxdb, rows_input, rows_kills, rows_network, rows_workers
from tests.faults.drill.row import Row

ALL: tuple[Row, ...] = (
    *rows_kills.ROWS,
    *rows_compound.ROWS,
    *rows_influxdb.ROWS,
    *rows_network.ROWS,
    *rows_workers.ROWS,
    *rows_input.ROWS,
)
SHORT = ("bridge-killed-while-kafka-away", "sink-killed-while-influxdb-away", "zombie-worker")
"""Between them these three catch every mutant."""
