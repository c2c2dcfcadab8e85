"""MQTT clients: MQTT 5, TLS and credentials from settings.

Callbacks belong to paho's network thread: they hand over, no more.
"""

import ssl
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from services.runtime.errors import ConfigurationError
from services.runtime.settings import MqttSettings


def client(settings: MqttSettings, *, client_id: str, manual_ack: bool = False, userdata: Any = None) -> paho.Client:
    """A client that is set up and not yet connected.

    Raises:
        ConfigurationError: A TLS file cannot be read.
    """
    made = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        userdata=userdata,
        protocol=paho.MQTTv5,
        manual_ack=manual_ack,
    )
    if settings.username is not None:
        made.username_pw_set(settings.username, settings.password.get_secret_value() if settings.password else None)
    if settings.tls:
        try:
            made.tls_set(
                ca_certs=str(settings.ca_file) if settings.ca_file else None,
                certfile=str(settings.cert_file) if settings.cert_file else None,
                keyfile=str(settings.key_file) if settings.key_file else None,
                tls_version=ssl.PROTOCOL_TLS_CLIENT,
            )
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"MQTT over TLS: {error}; WEIR_MQTT__CA_FILE, __CERT_FILE and __KEY_FILE must name readable PEM files"
            ) from None
    made.reconnect_delay_set(min_delay=1, max_delay=10)
    return made
