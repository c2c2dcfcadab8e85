"""The programs that Weir is measured beside, each as its own documentation teaches; told by BENCH_ variables.

BENCH_KAFKA: bootstrap; BENCH_PREFIX: before every topic's name; BENCH_MODEL: `gaussian` or `half_space_trees`;
BENCH_MQTT: host:port; BENCH_INFLUX, BENCH_DATABASE: where to write. Folder of work: the current one.
"""
