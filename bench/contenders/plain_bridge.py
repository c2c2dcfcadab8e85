"""What one writes first: paho's thread, confluent-kafka's producer, acknowledgement from the delivery report."""

import os
import signal
import time

import paho.mqtt.client as paho
from confluent_kafka import KafkaError
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from schemas import raw, topics
from services.runtime import kafka
from services.runtime.settings import KafkaSettings


def main() -> None:
    """Carry messages until SIGTERM."""
    producer = kafka.producer(KafkaSettings(bootstrap=os.environ["BENCH_KAFKA"]))
    topic = os.environ["BENCH_PREFIX"] + topics.RAW
    host, _, port = os.environ["BENCH_MQTT"].partition(":")

    def on_message(client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        def on_delivery(error: KafkaError | None, _record: object, mid: int = message.mid) -> None:
            if error is None:
                client.ack(mid, 1)

        _, _, tenant, _, device, _ = message.topic.split("/")
        producer.produce(
            topic,
            key=f"{tenant}/{device}",
            value=bytes(message.payload),
            headers=[
                (raw.MQTT_TOPIC, message.topic),
                (raw.MQTT_DUP, b"1" if message.dup else b"0"),
                (raw.RECEIVED_AT, str(time.time_ns() // 1000)),
                (raw.ROUTE, "telemetry"),
            ],
            on_delivery=on_delivery,
        )
        producer.poll(0)

    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=os.environ["BENCH_CLIENT"], protocol=paho.MQTTv5, manual_ack=True
    )
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's has no types
    properties.SessionExpiryInterval = 3600
    properties.ReceiveMaximum = 512
    client.on_message = on_message
    client.on_connect = lambda client, *_: client.subscribe("weir/v1/#", qos=1)
    client.connect(host, int(port), clean_start=False, properties=properties)
    client.loop_start()
    leaving: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: leaving.append(1))
    while not leaving:
        producer.poll(0.01)
    client.disconnect()


if __name__ == "__main__":
    main()
