"""MQTT clients: MQTT 5, TLS and credentials from settings.

Callbacks belong to paho's network thread: they hand over, no more. Password file and certificates are read anew for
every connection, so that a rotation needs no restart.
"""

import ssl
from enum import StrEnum
from typing import Any, Final, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from services.runtime.errors import ConfigurationError
from services.runtime.settings import MqttSettings


def client(settings: MqttSettings, *, client_id: str, manual_ack: bool = False, userdata: Any = None) -> paho.Client:
    """A client that is set up and not yet connected. Connecting raises OSError also where a file cannot be read then.

    Raises:
        ConfigurationError: A TLS file cannot be read, or is none.
    """
    made = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        userdata=userdata,
        protocol=paho.MQTTv5,
        manual_ack=manual_ack,
    )
    context = None
    if settings.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        made.tls_set_context(context)
        try:
            if settings.ca_file is None:
                context.load_default_certs()
            _read_files(context, settings)
        except OSError as error:
            raise ConfigurationError(
                f"MQTT over TLS: {error}; WEIR_MQTT__CA_FILE, __CERT_FILE and __KEY_FILE must name readable PEM files"
            ) from None

    def read_credentials(connecting: paho.Client, _userdata: Any) -> None:
        if settings.username is not None:
            connecting.username_pw_set(settings.username, _password(settings))
        if context is not None:
            _read_files(context, settings)

    made.on_pre_connect = read_credentials
    made.reconnect_delay_set(min_delay=1, max_delay=10)
    return made


def _read_files(context: ssl.SSLContext, settings: MqttSettings) -> None:
    if settings.ca_file is not None:
        context.load_verify_locations(settings.ca_file)
    if settings.cert_file is not None:
        context.load_cert_chain(settings.cert_file, settings.key_file, _no_passphrase)


def _no_passphrase() -> str:
    # Else OpenSSL would ask for it on the terminal, and wait.
    raise OSError("the key is encrypted; give one without a passphrase, readable by this process only")


def _password(settings: MqttSettings) -> str | None:
    if settings.password_file is not None:
        try:
            return settings.password_file.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise OSError(f"{settings.password_file} is not UTF-8, so it holds no password") from None
    return settings.password.get_secret_value() if settings.password else None


class Trouble(StrEnum):
    """Why there is no connection, sorted by who can mend it; also the label of a metric."""

    AWAY = "away"
    """Broker or network: it may come back on its own."""
    TLS = "tls"
    """Certificates or TLS settings: a person must act."""
    CREDENTIALS = "credentials"
    """The broker does not let this user in: a person must act."""


class Failure(NamedTuple):
    """A failed try to connect; `why` names the fix and no secret."""

    trouble: Trouble
    why: str


_UNKNOWN_AUTHORITY: Final = frozenset({18, 19, 20, 21})
_EXPIRED: Final = frozenset({9, 10})
_WRONG_NAME: Final = frozenset({62, 63, 64})
"""OpenSSL's verify codes."""

HUNG_UP: Final = Failure(
    Trouble.AWAY,
    "the broker hung up before it said who may come in; correct WEIR_MQTT__PORT and WEIR_MQTT__TLS, give a certificate"
    " (WEIR_MQTT__CERT_FILE, __KEY_FILE) that it trusts and that is neither expired nor revoked, or let it take more"
    " connections",
)
"""The connection broke off between the first byte and CONNACK."""


def failure(error: OSError) -> Failure:
    """What an exception of connecting, reading or writing means for a person."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(Trouble.TLS, f"its certificate is not trusted: {error.verify_message}; {_fix(error)}")
    if isinstance(error, ConnectionResetError | BrokenPipeError | ssl.SSLEOFError):
        return HUNG_UP
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        if "WRONG_VERSION" in reason or "HTTP_REQUEST" in reason:
            return Failure(Trouble.TLS, f"it speaks no TLS there ({reason}); correct WEIR_MQTT__PORT or WEIR_MQTT__TLS")
        return Failure(
            Trouble.TLS,
            f"TLS: {reason}; look at WEIR_MQTT__CERT_FILE and __KEY_FILE: trusted by the broker, of one pair, neither"
            " expired nor revoked",
        )
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return Failure(Trouble.CREDENTIALS, f"{error.filename}: {error.strerror}; give this process a readable file")
    return Failure(Trouble.AWAY, str(error))


def refused(reason: str, username: str | None) -> Failure:
    """The broker's CONNACK says no to this user."""
    who = "a client without a name" if username is None else f"user {username}"
    return Failure(
        Trouble.CREDENTIALS,
        f"it refuses {who}: {reason}; correct WEIR_MQTT__USERNAME and WEIR_MQTT__PASSWORD (or the content of"
        " WEIR_MQTT__PASSWORD_FILE, which is read again at each try), or the broker's accounts",
    )


def _fix(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return "WEIR_MQTT__CA_FILE must name the authority that signed it"
    if error.verify_code in _WRONG_NAME:
        return "WEIR_MQTT__HOST must be a name or address that stands in it"
    if error.verify_code in _EXPIRED:
        return "renew the broker's certificate, or correct a clock"
    return "renew the broker's certificate"
