"""Runtime: what every service needs to be a good process; a library.

Settings, logs, metrics, health, client set-up for Kafka and MQTT, backoff, shutdown, exit codes.
Guarantee: a service that uses `process.run` ends with a meaningful exit code, drains on SIGTERM and swallows nothing.
"""
