"""`weir replay`: recordings -> devices with faults -> MQTT, and labels of what is anomalous."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from services.runtime.clock import Clock, now_us
from services.runtime.settings import MqttSettings
from services.simulator.device import Device
from services.simulator.drive import Drive, address
from services.simulator.fault_schedule import FaultSchedule, faults_of
from services.simulator.faults import Fault
from services.simulator.fleet import DevicePlan, plan
from services.simulator.labels import Label, Labels
from services.simulator.options import ReplayOptions
from services.simulator.pacing import check_ends_by, interval_s, pacing
from services.simulator.publisher import Publisher
from services.simulator.recordings import load

DRAIN_S: Final = 5.0
"""Seconds for acknowledgements and statuses at the end."""
WARM_UP: Final = 300.0
WARM_UP_WITH_HISTORY: Final = 30.0
"""Units (a second, or a message interval where that is longer) before the first random fault."""


class ReplaySummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay did. `messages` are MQTT publishes, `readings` the sensor values in them."""

    devices: int
    messages: int
    readings: int
    acknowledged: int
    withheld: int
    """Messages that drop-out faults swallowed: their `seq` is missing on purpose."""
    faults: int
    """Faults that struck; known anomalies of the recording do not count."""
    reconnects: int
    seconds: float
    labels: list[Label]

    def line(self) -> str:
        """One line of JSON for the end of a run, without the labels."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "labels"}
        return msgspec.json.encode(fields).decode()


def replay(
    options: ReplayOptions, mqtt: MqttSettings, should_stop: Callable[[], bool], clock: Clock = now_us
) -> ReplaySummary:
    """Replay until the options say that it is done, or until `should_stop`; then say offline and disconnect.

    While the broker is away it waits, with backoff. `should_stop` is asked about ten times a second.

    Raises:
        ConfigurationError: Options, recordings or faults that do not fit; a broker that refuses these clients.
        Unavailable: The broker refuses a publish (its quota, say).
    """
    options.check()
    plans = plan([load(source) for source in options.files], options)
    for each in plans:
        check_ends_by(clock(), each, options)
    faults = _faults(plans, options)
    publisher = Publisher([address(each) for each in plans], mqtt, connections=options.connections)
    with Labels(options.labels_file) as labels:
        publisher.connect(should_stop)
        begun_us = clock()
        live_us = begun_us if options.start_us is None else options.start_us
        schedule = FaultSchedule(faults, [each.device for each in plans], live_us)
        devices = [_device(each, options, schedule, begun_us) for each in plans]
        drive = Drive(devices, publisher, labels, clock)
        drive.run(should_stop, None if options.duration_s is None else begun_us + round(options.duration_s * 1e6))
        publisher.close(DRAIN_S)
    return ReplaySummary(
        devices=len(devices),
        messages=publisher.published,
        readings=drive.readings,
        acknowledged=publisher.acknowledged,
        withheld=sum(device.withheld for device in devices),
        faults=drive.faults,
        reconnects=publisher.reconnects,
        seconds=round((clock() - begun_us) / 1e6, 3),
        labels=labels.written,
    )


def _device(each: DevicePlan, options: ReplayOptions, schedule: FaultSchedule, begun_us: int) -> Device:
    live = options.messages
    if live is None and (options.once or options.start_us is not None):
        live = len(each.recording)
    limit = None if live is None else options.history + live
    return Device(each, pacing(each, options, begun_us), schedule, history=options.history, limit=limit)


def _faults(plans: Sequence[DevicePlan], options: ReplayOptions) -> Iterator[Fault]:
    return faults_of(
        options.faults,
        {each.device: each.recording.sensors for each in plans},
        seed=options.seed,
        warm_up=WARM_UP_WITH_HISTORY if options.history else WARM_UP,
        unit_s=max(interval_s(plans[0], options), 1.0),
    )
