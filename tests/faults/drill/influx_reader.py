"""InfluxQL over HTTP: InfluxDB 1.8 and 2.x alike."""


class InfluxReader:
    """Reads Weir's databases."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """`url` without a slash at its end; `token` for InfluxDB 2."""
        raise NotImplementedError
