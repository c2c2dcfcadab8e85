"""Where the servers listen, always on loopback: fixed ports for a person, free ones for a test."""

from __future__ import annotations

import errno
import os
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields

from deploy.local.errors import PortTaken, StackError

LOOPBACK = "127.0.0.1"

# Below Linux's ephemeral range (32768 and up): a port in that range can be taken by any outgoing connection while its
# server is down, even by a client's own attempt to reconnect to it.
_FREE_PORTS = range(20000, 32000)

_VARIABLES = {
    "mqtt": "LOCAL_MQTT_PORT",
    "kafka": "LOCAL_KAFKA_PORT",
    "kafka_controller": "LOCAL_KAFKA_CONTROLLER_PORT",
    "influx": "LOCAL_INFLUX_PORT",
}
_SERVERS = {
    "mqtt": "Mosquitto",
    "kafka": "Kafka",
    "kafka_controller": "Kafka's controller",
    "influx": "InfluxDB",
}


@dataclass(frozen=True)
class Ports:
    """The TCP ports of one stack."""

    mqtt: int = 1883
    kafka: int = 9092
    kafka_controller: int = 9093
    influx: int = 8086

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Ports:
        """The usual ports, each replaced by its LOCAL_..._PORT variable where set. Raises `StackError` on nonsense."""
        chosen: dict[str, int] = {}
        for name, variable in _VARIABLES.items():
            text = environment.get(variable, "")
            if not text:
                continue
            if not (text.isdecimal() and 0 < int(text) < 65536):
                raise StackError(f"{variable}={text!r} is not a port: set it to a number from 1 to 65535")
            chosen[name] = int(text)
        return cls(**chosen)

    @classmethod
    def free(cls) -> Ports:
        """Ports on which nothing listens now. Another process may still take one before the stack does."""
        chosen: dict[str, int] = {}
        while len(chosen) < len(_VARIABLES):
            port = random.choice(_FREE_PORTS)
            if port not in chosen.values() and is_free(port):
                chosen[list(_VARIABLES)[len(chosen)]] = port
        return cls(**chosen)

    def check_free(self) -> None:
        """Raises `PortTaken`, naming server, port and way out, when a port is in use, also by another one of these."""
        seen: set[int] = set()
        for field in fields(self):
            port = getattr(self, field.name)
            if port in seen or not is_free(port):
                raise PortTaken(_SERVERS[field.name], port, _VARIABLES[field.name])
            seen.add(port)


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port. Raises `StackError` when this user may not (below 1024)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: connections of a former server that linger in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            # Two sockets may be bound with SO_REUSEADDR; only one may listen.
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise StackError(f"can't listen on port {port}: {error.strerror}; choose a port above 1023") from error
        return True
