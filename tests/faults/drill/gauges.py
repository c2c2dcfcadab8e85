"""What the services say of themselves while a row runs: their metrics, once a second, across kills and restarts."""

import http.client
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping

INTERVAL_S = 1.0


def http_get(port: int, path: str) -> str | None:
    """What a service answers, None where it does not, or says anything but 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return text if answer.status == 200 else None


def parse(text: str) -> dict[str, float]:
    """Samples by name with labels, as they stand in the text: `name{a="b"}` -> value."""
    samples = {}
    for line in text.splitlines():
        if line.startswith("weir_"):
            name, _, value = line.rpartition(" ")
            samples[name] = float(value)
    return samples


class Gauges:
    """Follows the metrics of all services, and the memory of their processes, from a thread of its own."""

    def __init__(self, ports: Callable[[], Mapping[str, int]], memory: Callable[[], Mapping[str, int]]) -> None:
        self._ports = ports
        self._memory = memory
        self._lock = threading.Lock()
        self._last: dict[str, dict[str, float]] = {}
        self._risen: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._highest: dict[str, dict[str, float]] = defaultdict(dict)
        self._resident: dict[str, int] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gauges", daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """A row begins: what rises from here on is its own."""
        self._look()
        with self._lock:
            self._risen.clear()
            self._highest.clear()
            self._resident.clear()

    def rise(self, service: str, metric: str, label: str = "") -> float:
        """How much a metric has risen since `reset`, over all samples with `label` in them.

        What a process had counted when it was killed is kept; the next one's count begins at 0. `service`: a name, or
        the beginning of several (`stream`).
        """
        with self._lock:
            return _total(self._risen, service, metric, label, sum)

    def highest(self, service: str, metric: str, label: str = "") -> float:
        """The highest that a sample has stood at since `reset`."""
        with self._lock:
            return _total(self._highest, service, metric, label, max)

    def resident_mib(self) -> dict[str, int]:
        """The most memory that each process has held since `reset`, in MiB."""
        with self._lock:
            return {name: size // 2**20 for name, size in self._resident.items()}

    def close(self) -> None:
        """Stop following."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_S):
            self._look()

    def _look(self) -> None:
        for service, port in dict(self._ports()).items():
            text = http_get(port, "/metrics")
            if text is not None:
                with self._lock:
                    self._take(service, parse(text))
        resident = self._memory()
        with self._lock:
            self._resident = {name: max(size, self._resident.get(name, 0)) for name, size in resident.items()}

    def _take(self, service: str, samples: dict[str, float]) -> None:
        last = self._last.get(service, {})
        risen, highest = self._risen[service], self._highest[service]
        for name, value in samples.items():
            before = last.get(name, 0.0)
            risen[name] += value - before if value >= before else value
            highest[name] = max(value, highest.get(name, value))
        self._last[service] = samples


def _total(
    found: Mapping[str, Mapping[str, float]],
    service: str,
    metric: str,
    label: str,
    fold: Callable[[list[float]], float],
) -> float:
    values = [
        value
        for name, samples in found.items()
        if name.startswith(service)
        for sample, value in samples.items()
        if sample.partition("{")[0] == metric and label in sample
    ]
    return fold(values) if values else 0.0
