"""`weir sink`: from settings to clients to the loop, and out again."""

from services.runtime import kafka, logging
from services.runtime.health import Health, HealthServer
from services.runtime.process import Shutdown, look_for_garbage_seldom
from services.runtime.reporting import Reporter
from services.runtime.settings import SinkSettings, load
from services.sink.graveyard import KafkaGraveyard
from services.sink.influx_state import InfluxState
from services.sink.loop import Limits, Sink
from services.sink.readers import readers
from services.sink.source import KafkaSource
from services.sink.vital_signs import LOOP, VitalSigns
from services.sink.writer import InfluxWriter

_STUCK_S = 60.0
"""The loop turns at least this often: one write, one look at Kafka's offsets, and time to spare."""


def run() -> None:
    """Run the sink until it is asked to leave."""
    settings = load(SinkSettings)
    log = logging.configure("sink", level=settings.log.level, form=settings.log.format)
    shutdown = Shutdown().install()
    health = Health()
    server = HealthServer(health, settings.sink.http_port, settings.http.host)
    health.wait_for("kafka", "topics not there yet")
    if not kafka.wait_for_topics(settings.kafka, shutdown):
        return

    by_topic = readers(settings.kafka.topic_prefix)
    source = KafkaSource(
        settings.kafka,
        list(by_topic),
        group=settings.sink.group,
        session_timeout_ms=settings.sink.session_timeout_ms,
        most_between_polls_ms=_most_between_polls_ms(settings),
    )
    producer = kafka.producer(settings.kafka)
    reporter = Reporter(producer, "sink", name=settings.metrics.instance, prefix=settings.kafka.topic_prefix)
    writer = InfluxWriter(settings.influx)
    sink = Sink(
        source=source,
        writer=writer,
        graveyard=KafkaGraveyard(producer, settings.kafka.topic_prefix),
        readers=by_topic,
        limits=Limits(settings.sink.batch_lines, settings.sink.batch_wait_s),
        influx_state=InfluxState(health),
        beat=VitalSigns(source, health, reporter, producer).beat,
        should_stop=shutdown,
    )
    health.watch(LOOP, _STUCK_S)
    log.info("sink_started", http_port=server.port, topics=list(by_topic))
    sink.greet()
    look_for_garbage_seldom()
    while not shutdown():
        sink.turn()

    source.close()
    producer.flush(2.0)
    writer.close()
    server.close()
    log.info("sink_stopped")


def _most_between_polls_ms(settings: SinkSettings) -> int:
    """The loop polls each second, or once a write where that is longer: one that is silent for this long hangs."""
    return max(settings.sink.session_timeout_ms, round(settings.influx.timeout_s * 3000))
