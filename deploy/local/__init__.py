"""The real Kafka, Mosquitto and InfluxDB on this machine, without containers, and the supervisor that runs them.

In: a run folder, four ports, and the programs (Weir's services) to run beside the servers. Out: a `Stack` that starts,
stops, kills and reports on them by name; its data, configuration and logs lie in the run folder. Promises: loopback
only; what dies is started again; after `stop` no process of the stack is left, however the stack was left behind.
`install.sh` fetches the servers first. Linux only (`/proc`, pidfd).
"""
