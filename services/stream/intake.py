"""Kafka in and out of the Faust app, without Faust's own consumer (docs/decisions/0002-faust-without-its-consumer.md).

One thread owns consumer, producer, rebalance callbacks and checkpoints. Callbacks run only inside `consume`, and nobody
consumes while the agent holds a batch, so a batch never straddles a rebalance. Crash-only: an unknown exception ends
the process with nothing committed.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from mode import Service

from schemas import topics
from services.runtime import kafka, logging
from services.runtime.clock import now_us
from services.runtime.errors import Unavailable
from services.runtime.health import Health
from services.runtime.reporting import Reporter
from services.runtime.settings import StreamSettings
from services.stream import metrics, recovery
from services.stream.arrival import RawRecord
from services.stream.crash import crash_only, end_process
from services.stream.device_table import Restored
from services.stream.kafka_log import KafkaLog
from services.stream.pipeline import Output, PartitionPipeline
from services.stream.worker import Hole, Worker

log = logging.get("stream")
T = TypeVar("T")

GATHER_S = 0.02
"""After a first record, how long to wait for more; part of every reading's latency."""
TOGETHER = 500
"""Answers of this many records together are published at once; fewer wait for the turn's other chunks."""
FETCH_BYTES = 1024 * 1024
PIECE = 32
"""A turn ends when this many bytes are fetched, at most this many records late: the largest messages, made to be slow,
cost half a second each, and commits must move."""
CHUNK_BYTES = 256 * 1024
"""About what one chunk holds."""
SLICES = 4
"""A checkpoint is taken in this many parts, each of some of the partitions, as nothing else moves meanwhile."""
IDLE_CHECK_S = 5.0


Answers = list[tuple[int, list[Output]]]
"""Partition, and what is to be published of it, in order."""


class Chunk:
    """Records of one partition, on their way to the agent, which answers with what is to be published."""

    __slots__ = ("answer", "pipeline", "records")

    def __init__(
        self, pipeline: PartitionPipeline, records: list[RawRecord], answer: "asyncio.Future[list[Output]]"
    ) -> None:
        self.pipeline = pipeline
        self.records = records
        self.answer = answer


class Intake(Service):
    """Feeds the agent with chunks and publishes its answers; checkpoints in between."""

    def __init__(
        self,
        settings: StreamSettings,
        health: Health,
        open_partition: Callable[[int, Restored], PartitionPipeline],
        hand_over: Callable[[Chunk], Any],
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self._settings = settings
        self._options = settings.stream
        self._health = health
        self._hand_over = hand_over
        self._raw = settings.kafka.topic_prefix + topics.RAW
        self._log = KafkaLog(settings, health, lambda: self._gave_up)
        self.worker = Worker(self._log, open_partition)
        self._reporter = Reporter(
            self._log.producer, "stream", name=settings.metrics.instance, prefix=settings.kafka.topic_prefix
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka")
        self._closed = asyncio.Event()
        self._gave_up = False
        self._raw_id = ""
        self._new_partitions: list[int] = []
        self._skips_seen: set[tuple[int, int]] = set()
        self._next_checkpoint = self._next_idle_check = 0.0
        self._checkpointed: dict[int, float] = {}
        """When the last checkpoint of a partition was taken."""
        self.moved_at = time.monotonic()
        """When the last commit went through, or there was nothing to commit."""

    # ------------------------------------------------------------------------------------------ on the event loop

    @Service.task
    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        with crash_only():
            await self._in_thread(self._open)
            answers: Answers = []
            while not self.should_stop:
                chunks = await self._in_thread(partial(self._turn, answers))
                answers, waiting = [], 0
                for partition, records in chunks:
                    if waiting >= TOGETHER:
                        await self._in_thread(partial(self._publish, answers))
                        answers, waiting = [], 0
                    answer: asyncio.Future[list[Output]] = loop.create_future()
                    await self._hand_over(Chunk(self.worker.partitions[partition].pipeline, records, answer))
                    answers.append((partition, await answer))
                    waiting += len(answers[-1][1])
            await self._in_thread(partial(self._close, answers))
        self._closed.set()

    async def on_stop(self) -> None:
        """Wait for the last checkpoint, within the supervisor's patience; without it the next worker replays."""
        try:
            await asyncio.wait_for(self._closed.wait(), 20)
        except TimeoutError:
            self._gave_up = True
            end_process(Unavailable("the last checkpoint did not finish in 20 s"))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def lag(self) -> int:
        """Raw records not yet processed, as far as the last fetches told."""
        return self.worker.lag_of(self._ends())

    # -------------------------------------------------------------------------------------- in the consumer thread

    def _open(self) -> None:
        self._health.wait_for("kafka", f"not reached yet at {self._settings.kafka.bootstrap}")
        self._health.watch("consumer", 60.0)
        if not kafka.wait_for_topics(self._settings.kafka, lambda: self.should_stop):
            return
        self._raw_id = kafka.topic_id(self._settings.kafka, topics.RAW)
        self._consumer = self._log.consumer = kafka.consumer(
            self._settings.kafka,
            group=self._options.group,
            session_timeout_ms=self._options.session_timeout_ms,
        )
        self._consumer.subscribe(
            [self._raw], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        self._next_checkpoint = time.monotonic() + self._options.checkpoint_s / SLICES
        self._health.has("kafka")

    def _turn(self, answers: Answers) -> list[tuple[int, list[RawRecord]]]:
        """Publish, checkpoint when it is time, and fetch the next chunks: in one visit to this thread."""
        self._publish(answers)
        now = time.monotonic()
        if now >= self._next_checkpoint:
            self._checkpoint(self._next_slice())
        fetched = self._fetch()
        if now >= self._next_idle_check:
            self._next_idle_check = now + IDLE_CHECK_S
            self._show_idle_windows(fetched.keys())
            self._reporter.report(now_us())
        self._log.producer.poll(0)
        return [(partition, chunk) for partition, records in fetched.items() for chunk in _chunks(records)]

    def _publish(self, answers: Answers) -> None:
        self._health.tick("consumer")
        for partition, outputs in answers:
            self.worker.publish(partition, outputs)
            metrics.count(outputs)

    def _fetch(self) -> dict[int, list[RawRecord]]:
        first = self._consumer.poll(0.1)
        if first is None:
            return {}
        messages, size = [first], len(first)
        until = time.monotonic() + GATHER_S
        while size <= FETCH_BYTES and len(messages) < self._options.batch_messages:
            left_s = max(0.0, until - time.monotonic())
            piece = self._consumer.consume(min(PIECE, self._options.batch_messages - len(messages)), left_s)
            messages += piece
            size += sum(map(len, piece))
            if len(piece) < PIECE:
                break
        fetched: dict[int, list[RawRecord]] = defaultdict(list)
        for message in messages:
            if message.error() is not None:
                log.warning("fetch_failed", error=str(message.error()))
            else:
                fetched[message.partition() or 0].append(_raw_record(message))
        accepted = {partition: self._accept(partition, records) for partition, records in fetched.items()}
        return {partition: records for partition, records in accepted.items() if records}

    def _accept(self, partition: int, records: list[RawRecord]) -> list[RawRecord]:
        owned = self.worker.partitions.get(partition)
        expected = -1 if owned is None else owned.following
        real = (partition, expected) in self._skips_seen
        try:
            accepted = self.worker.accept(partition, records, holes_are_real=real)
        except Hole as hole:
            # Skipped once may be a hiccup of the fetch; skipped again from the same offset, the log lacks them.
            log.warning("offsets_skipped", partition=partition, expected=hole.expected, found=hole.found)
            self._skips_seen.add((partition, hole.expected))
            self._consumer.seek(TopicPartition(self._raw, partition, hole.expected))
            return []
        if real and accepted:
            self._skips_seen = {seen for seen in self._skips_seen if seen[0] != partition}
            metrics.HOLES.inc()
            log.error("log_hole_accepted", partition=partition, first_lost=expected, first_kept=accepted[0].offset)
        return accepted

    def _check_log(self) -> None:
        """Refuse to go on when telemetry.raw ends before what was read of it: it was made anew, or lost its tail."""
        ends = self._ends()
        ahead = [p for p, owned in self.worker.partitions.items() if 0 <= ends.get(p, -1) < owned.following]
        if not ahead:
            return
        # What the last fetch said may be old: asked again.
        for partition, (_, end) in kafka.bounds(self._settings.kafka, topics.RAW, ahead).items():
            following = self.worker.partitions[partition].following
            recovery.check_origin(partition, Restored({}), self._raw_id, self._raw_id, end, following)

    def _next_slice(self) -> list[int]:
        """The partitions whose last checkpoint is the longest ago; all have their turn within `checkpoint_s`."""
        oldest = sorted(self.worker.partitions, key=lambda p: self._checkpointed.get(p, 0.0))
        return oldest[: -(-len(oldest) // SLICES)]

    def _checkpoint(self, partitions: Collection[int]) -> None:
        self._check_log()
        started = time.monotonic()
        for partition in self._new_partitions:
            if partition in self.worker.partitions:
                self._log.send(topics.STREAM_STATE, partition, recovery.RAW_TOPIC_KEY, self._raw_id.encode())
        self._new_partitions = []
        waiting = {p for p, owned in self.worker.partitions.items() if owned.following > owned.committed}
        taken = self.worker.checkpoint(partitions)
        if not waiting or (taken and not waiting.isdisjoint(partitions)):
            self.moved_at = time.monotonic()
        if rebuilt := self.worker.models_rebuilt():
            log.warning("models_learn_anew", devices=rebuilt, means="their state is of another version or model spec")
        self._checkpointed |= dict.fromkeys(partitions, started)
        self._next_checkpoint = started + self._options.checkpoint_s / SLICES
        metrics.CHECKPOINTS.inc()
        metrics.CHECKPOINT_SECONDS.inc(time.monotonic() - started)
        metrics.LAG.set(self.lag())
        metrics.PARTITIONS.set(len(self.worker.partitions))

    def _show_idle_windows(self, busy: Collection[int]) -> None:
        ends = self._ends()
        now = now_us()
        silent_since = now - round(self._options.idle_emit_s * 1e6)
        for partition, owned in self.worker.partitions.items():
            if partition not in busy and owned.following >= ends.get(partition, 0):
                idle = owned.pipeline.idle_windows(silent_since, now) + owned.pipeline.idle_ledgers(silent_since)
                self._publish([(partition, idle)])

    def _ends(self) -> dict[int, int]:
        ends = {}
        for partition in list(self.worker.partitions):
            _, end = self._consumer.get_watermark_offsets(TopicPartition(self._raw, partition), cached=True)
            ends[partition] = end
        return ends

    def _close(self, answers: Answers) -> None:
        if self._log.consumer is None:
            return
        self._publish(answers)
        self._checkpoint(list(self.worker.partitions))
        self._log.flush()
        self._consumer.close()

    # ------------------------------------------------------------------------- rebalance callbacks, inside `consume`

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        with crash_only():
            partitions = [at.partition for at in assigned]
            self._health.wait_for("state", f"of partitions {partitions} is being read")
            states = self._read_states(partitions)
            there = kafka.bounds(self._settings.kafka, topics.RAW, partitions)
            self._raw_id = kafka.topic_id(self._settings.kafka, topics.RAW)
            for at in consumer.committed(assigned, timeout=30):
                if at.error is not None:
                    raise KafkaException(at.error)
                low, end = there[at.partition]
                committed = at.offset if at.offset >= 0 else None
                state = states[at.partition]
                restored = state.restored()
                recovery.check_origin(at.partition, restored, state.raw_topic_id, self._raw_id, end, committed)
                following = low if committed is None else committed
                self.worker.assign(at.partition, restored, following)
                self._new_partitions.append(at.partition)
                metrics.STALE_STATES.inc(len(restored.stale))
                consumer.incremental_assign([TopicPartition(self._raw, at.partition, following)])
                log.info("partition_assigned", partition=at.partition, offset=following, states=len(restored.values))
            self._health.has("state")
            self.moved_at = time.monotonic()

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        with crash_only():
            self._checkpoint(list(self.worker.partitions))
            self._drop(consumer, revoked, "partition_revoked")

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        with crash_only():
            self._drop(consumer, lost, "partition_lost")

    def _drop(self, consumer: Consumer, gone: list[TopicPartition], event: str) -> None:
        partitions = [at.partition for at in gone]
        self.worker.drop(partitions)
        self._skips_seen = {seen for seen in self._skips_seen if seen[0] not in partitions}
        consumer.incremental_unassign(gone)
        log.info(event, partitions=partitions)

    def _read_states(self, partitions: list[int]) -> dict[int, recovery.Merge]:
        states = {partition: recovery.Merge() for partition in partitions}
        for message in kafka.read_to_end(self._settings.kafka, topics.STREAM_STATE, partitions):
            states[message.partition() or 0].take(message.key() or b"", message.value())
            self._health.tick("consumer")
        return states


def _chunks(records: list[RawRecord]) -> Iterator[list[RawRecord]]:
    """The records in their order, in pieces of about `CHUNK_BYTES`."""
    chunk: list[RawRecord] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += len(record.value)
        if size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _raw_record(message: Message) -> RawRecord:
    headers: Any = message.headers()
    # A third of what its own constructor takes.
    return tuple.__new__(
        RawRecord,
        (message.offset() or 0, message.key() or b"", message.value() or b"", dict(headers) if headers else {}),
    )
