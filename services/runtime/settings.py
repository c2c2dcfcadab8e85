"""Every setting, one class a service, read from the environment (`WEIR_KAFKA__BOOTSTRAP=...`) and nowhere else.

A name that begins with `WEIR_` and is no setting of any service is refused: a typo must not pass as a default.
Secrets are `SecretStr`, may come from a file (`WEIR_INFLUX__TOKEN_FILE=/run/secrets/token`), and print as stars.
"""

import os
from pathlib import Path
from typing import Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.runtime.errors import ConfigurationError

PREFIX = "WEIR_"


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


G = TypeVar("G", bound=_Group)


def _with_secret(group: G, name: str, path: Path | None) -> G:
    if path is None:
        return group
    try:
        secret = SecretStr(path.read_text(encoding="utf-8").strip())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; give a file that this process may read") from None
    # The group is frozen for everyone else; it is still being built here.
    group.__dict__[name] = secret
    return group


class KafkaSettings(_Group):
    """Where Kafka is and how to speak to it."""

    bootstrap: str = Field("127.0.0.1:9092", description="host:port, comma-separated")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to connect"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="used with SASL_*"
    )
    username: str | None = Field(None, description="used with SASL_*")
    password: SecretStr | None = Field(None, description="used with SASL_*")
    password_file: Path | None = Field(None, description="file that holds the password")
    ca_file: Path | None = Field(None, description="PEM file of the authority to trust; default: the system's")
    cert_file: Path | None = Field(None, description="client certificate, PEM; used with SSL and SASL_SSL")
    key_file: Path | None = Field(None, description="client certificate's key, PEM")
    partitions: int = Field(4, ge=1, le=1024, description="partitions of every topic, when it is created")
    replication: int = Field(1, ge=1, le=5, description="copies of every topic, when it is created")
    topic_prefix: str = Field(
        "", pattern=r"^[a-z0-9.-]{0,40}$", description="before every topic's name, for scratch runs"
    )

    @model_validator(mode="after")
    def _read_password_file(self) -> Self:
        return _with_secret(self, "password", self.password_file)


class MqttSettings(_Group):
    """Where the MQTT broker is and how to speak to it."""

    host: str = Field("127.0.0.1", description="broker's host")
    port: int = Field(1883, ge=1, le=65535, description="broker's port")
    username: str | None = Field(None, description="None: anonymous")
    password: SecretStr | None = Field(None, description="goes with username")
    password_file: Path | None = Field(None, description="file that holds the password")
    tls: bool = Field(default=False, description="connect by TLS (1.2 or newer)")
    ca_file: Path | None = Field(None, description="PEM file of the authority to trust; default: the system's")
    cert_file: Path | None = Field(None, description="client certificate, PEM")
    key_file: Path | None = Field(None, description="client certificate's key, PEM")
    keepalive_s: int = Field(30, ge=5, le=600, description="seconds between pings; a dead link shows after 1.5 times")

    @model_validator(mode="after")
    def _read_password_file(self) -> Self:
        return _with_secret(self, "password", self.password_file)


class InfluxSettings(_Group):
    """Where InfluxDB is (1.8 and 2.x alike: `/api/v2/write`)."""

    url: str = Field("http://127.0.0.1:8086", pattern=r"^https?://", description="base address")
    org: str = Field("weir", description="organisation; InfluxDB 1.8 ignores it")
    token: SecretStr | None = Field(None, description="API token; `user:password` on InfluxDB 1.8 with auth")
    token_file: Path | None = Field(None, description="file that holds the token")
    ca_file: Path | None = Field(
        None, description="PEM file of the authority to trust with https; default: the system's"
    )
    bucket: str = Field("telemetry", description="bucket for readings, scores, 10 s aggregates, pipeline")
    bucket_long: str = Field("telemetry_long", description="bucket for 1 min and 5 min aggregates, anomalies")
    timeout_s: float = Field(10.0, gt=0, le=120, description="seconds for one write")

    @model_validator(mode="after")
    def _read_token_file(self) -> Self:
        return _with_secret(self, "token", self.token_file)


class LogSettings(_Group):
    """How to log."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="lowest level shown")
    format: Literal["json", "text"] = Field("text", description="one JSON object a line, or text for people")


class HttpSettings(_Group):
    """Where a service's /healthz, /readyz and /metrics are served."""

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for probes from other machines")


class MetricsSettings(_Group):
    """What a process calls itself in its metrics."""

    instance: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_.-]{0,64}$",
        description="one per process of a service, and the same after a restart; default: the host's name",
    )


class BridgeOptions(_Group):
    """MQTT -> telemetry.raw."""

    client_id: str = Field(
        "weir-bridge", min_length=1, description="MQTT client id: the session's name; one per bridge"
    )
    shared_group: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]+$", description="share the subscription between bridges of this group"
    )
    routes_file: Path | None = Field(
        None, description="YAML with routes; default: weir/v1/{tenant}/{site}/{device}/..."
    )
    receive_maximum: int = Field(256, ge=1, le=512, description="messages in flight, received and not acknowledged")
    max_payload_bytes: int = Field(256 * 1024, ge=1024, le=900 * 1024, description="larger messages are dead letters")
    session_expiry_s: int = Field(86_400, ge=60, description="how long the broker keeps messages for an absent bridge")
    linger_ms: float = Field(10.0, ge=0, le=1000, description="how long messages are gathered for one write to Kafka")
    drain_s: float = Field(8.0, gt=0, description="SIGTERM: seconds to acknowledge what is in flight")
    http_port: int = Field(8081, ge=0, le=65535, description="/healthz, /readyz, /metrics; 0: any free port")


class StreamOptions(_Group):
    """telemetry.raw -> clean, aggregates, scores, anomalies, gaps, dead letters."""

    group: str = Field("weir-stream", description="Kafka consumer group")
    device_types_file: Path | None = Field(None, description="YAML with device types; default: all are `generic`")
    routes_file: Path | None = Field(None, description="the bridge's routes; says which decoder reads a payload")
    checkpoint_s: float = Field(10.0, ge=0.2, le=300, description="seconds between checkpoints")
    session_timeout_ms: int = Field(10_000, ge=6_000, le=120_000, description="a silent worker is replaced after this")
    batch_messages: int = Field(1000, ge=1, le=20_000, description="messages taken from Kafka at once")
    idle_emit_s: float = Field(20.0, ge=1, description="a silent device's open windows are shown after this long")
    stalled_s: float = Field(60.0, ge=10, description="lag without a commit for this long ends the process")
    devices_per_tenant: int = Field(10_000, ge=1, description="device budget per tenant and partition")
    devices_per_partition: int = Field(
        20_000,
        ge=1,
        description="device budget of a partition, whoever's they are; 26 to 51 KB each with three sensors",
    )
    sensors_per_device: int = Field(64, ge=1, le=1024, description="sensor budget per device")
    sensors_per_tenant: int = Field(25_000, ge=1, description="sensor budget per tenant and partition")
    sensors_per_partition: int = Field(
        50_000,
        ge=1,
        description="sensor budget of a partition, whoever's they are; 10 to 18 KB of the process each, by model",
    )
    http_port: int = Field(8082, ge=0, le=65535, description="/healthz, /readyz, /metrics by Faust; 0: any free port")
    data_dir: Path = Field(Path(".run/faust"), description="where Faust may write; it holds no state")


class SinkOptions(_Group):
    """Derived topics -> InfluxDB."""

    group: str = Field("weir-sink", description="Kafka consumer group")
    batch_lines: int = Field(10_000, ge=1, le=50_000, description="most lines in one write")
    batch_wait_s: float = Field(0.05, ge=0.01, le=10, description="longest wait to fill a write")
    session_timeout_ms: int = Field(10_000, ge=6_000, le=120_000, description="a silent sink is replaced after this")
    http_port: int = Field(8083, ge=0, le=65535, description="/healthz, /readyz, /metrics; 0: any free port")


class AlertsOptions(_Group):
    """Anomalies and aggregates -> alarms."""

    group: str = Field("weir-alerts", description="Kafka consumer group")
    rules_dir: Path = Field(Path("deploy/alerts"), description="folder of YAML rules")
    webhook_url: SecretStr | None = Field(None, description="alarms are posted here; secret, as it may hold a token")
    webhook_timeout_s: float = Field(5.0, gt=0, le=60, description="seconds for one post")
    mqtt_alarms: bool = Field(default=True, description="publish alarms under weir-out/v1/")
    client_id: str = Field("weir-alerts", min_length=1, description="MQTT client id")
    session_timeout_ms: int = Field(10_000, ge=6_000, le=120_000, description="a silent worker is replaced after this")
    http_port: int = Field(8084, ge=0, le=65535, description="/healthz, /readyz, /metrics; 0: any free port")


class WeirSettings(BaseSettings):
    """All that Weir can be told; a service reads the groups that it names."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid")

    kafka: KafkaSettings = KafkaSettings()
    log: LogSettings = LogSettings()
    http: HttpSettings = HttpSettings()
    metrics: MetricsSettings = MetricsSettings()


class BridgeSettings(WeirSettings):
    """Settings of `weir bridge`."""

    mqtt: MqttSettings = MqttSettings()
    bridge: BridgeOptions = BridgeOptions()


class StreamSettings(WeirSettings):
    """Settings of `weir stream`."""

    stream: StreamOptions = StreamOptions()


class SinkSettings(WeirSettings):
    """Settings of `weir sink`."""

    influx: InfluxSettings = InfluxSettings()
    sink: SinkOptions = SinkOptions()


class AlertsSettings(WeirSettings):
    """Settings of `weir alerts`."""

    mqtt: MqttSettings = MqttSettings()
    alerts: AlertsOptions = AlertsOptions()


class ToolSettings(WeirSettings):
    """Settings of the commands that look at everything (`weir status`, `doctor`, `trace`, `config show`)."""

    mqtt: MqttSettings = MqttSettings()
    influx: InfluxSettings = InfluxSettings()
    bridge: BridgeOptions = BridgeOptions()
    stream: StreamOptions = StreamOptions()
    sink: SinkOptions = SinkOptions()
    alerts: AlertsOptions = AlertsOptions()


S = TypeVar("S", bound=WeirSettings)


def known_names() -> frozenset[str]:
    """Every environment variable that is a setting, upper case."""
    return frozenset(
        f"{PREFIX}{group}__{name}".upper()
        for group, field in ToolSettings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, _Group)
        for name in field.annotation.model_fields
    )


_OF_SETUP: Final = "WEIR_PURE"
"""Read by setup.py alone; who has exported it for an installation may leave it so."""


def load(kind: type[S]) -> S:
    """Read and check a service's settings.

    Raises:
        ConfigurationError: An unknown `WEIR_*` name, or a value that does not fit; names each.
    """
    names = {name.upper() for name in os.environ}
    if unknown := sorted(n for n in names if n.startswith(PREFIX) and n not in {*known_names(), _OF_SETUP}):
        raise ConfigurationError(f"unknown settings: {', '.join(unknown)}; `weir config show` lists the known ones")
    try:
        return kind()
    except ValidationError as error:
        wrong = "; ".join(
            f"{PREFIX}{'__'.join(str(part) for part in e['loc']).upper()}: {e['msg']}" for e in error.errors()
        )
        raise ConfigurationError(f"settings refused: {wrong}") from None
