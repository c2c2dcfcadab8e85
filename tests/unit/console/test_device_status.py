"""What `weir status --devices` tells of a device's false-alarm budget."""

import json
import math
import random

import pytest

from services.console import device_status
from services.console.device_ledgers import DeviceLedger, DeviceLedgers
from services.console.device_status import to_json
from services.scoring.calibration import Budget
from services.scoring.device import budget_in
from services.scoring.state import StateUnreadable
from services.stream.ledger import Ledger
from tests.unit.stream.stream_builders import StateTopic, at, log, message, pipeline

WEEK_S = 7 * 86_400


def test_a_device_s_alarms_of_late_stand_beside_the_budget_of_its_type():
    device, state, numbers = pipeline(), StateTopic(), random.Random(1)
    device.process(log(message(s, s, flow=numbers.gauss(20, 1) + 20 * (s == 300)) for s in range(301)))
    state.checkpoint(device)
    ledgers = DeviceLedgers(3)
    for key, value in state.records:
        ledgers.take(key, value)
    (told,) = json.loads(to_json(list(ledgers), at(300)))["devices"]
    assert (told["alarms_of_late"], told["alarms_per_week"]) == (1.0, 1.0)
    (a_week_later,) = json.loads(to_json(list(ledgers), at(300 + WEEK_S)))["devices"]
    assert a_week_later["alarms_of_late"] == pytest.approx(math.exp(-1))


def test_names_and_numbers_are_whole_on_a_narrow_terminal_too(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    budget = Budget(1.0)
    budget.alarms, budget.latest_us = 12.0, at(12)
    device_status._print([("acme/d", DeviceLedger(3, 9, Ledger(received=1), budget))], at(12), in_full=False)
    said = capsys.readouterr().out
    assert all(whole in said for whole in ("acme/d ", "redelivered", "duplicates", "12.0 of 1"))


def test_where_models_have_another_form_no_budget_is_told():
    with pytest.raises(StateUnreadable):
        budget_in(["weir.scorer.1", "0.21.0", ["gaussian", 1.0], ["budget.1", 3.0, 7]])
    (told,) = json.loads(to_json([("acme/d", DeviceLedger(3, 9, Ledger(received=1)))], at(0)))["devices"]
    assert (told["alarms_of_late"], told["alarms_per_week"]) == (None, None)
