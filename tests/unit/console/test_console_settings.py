"""`weir config show`, docs/settings.md, and the settings that `weir up` gives its services."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local.ports import Ports
from deploy.local.stack import Stack
from services.cli import app
from services.console import configuration, local_stack
from services.console.configuration import list_settings, to_markdown
from services.console.influx import STARS
from services.runtime.settings import ToolSettings, known_names

SECRETS = {
    "WEIR_KAFKA__PASSWORD": "hunter2-kafka",
    "WEIR_MQTT__PASSWORD": "hunter2-mqtt",
    "WEIR_INFLUX__TOKEN": "hunter2-influx",
    "WEIR_ALERTS__WEBHOOK_URL": "https://example.com/hook/hunter2-hook",
    "WEIR_INFLUX__URL": "http://weir:hunter2-url@127.0.0.1:8086",
}


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """No local stack, no settings but those of the test."""
    monkeypatch.setenv("LOCAL_RUN_DIR", str(tmp_path))
    for name in known_names():
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_every_setting_is_listed_once_with_a_description():
    listed = list_settings(None)
    assert {each.name for each in listed} == known_names()
    assert len(listed) == len(known_names())
    assert all(each.description and each.takes for each in listed)


def test_no_secret_is_printed(alone):
    for name, value in SECRETS.items():
        alone.setenv(name, value)
    listed = {each.name: each.value for each in list_settings(ToolSettings())}
    assert all(STARS in listed[name] for name in SECRETS)
    alone.setenv("COLUMNS", "300")
    shown = CliRunner().invoke(app, ["config", "show"])
    assert shown.exit_code == 0
    assert shown.output.count(STARS) == len(SECRETS)
    assert "hunter2" not in shown.output


def test_a_secret_from_a_file_is_not_printed_either(alone, tmp_path):
    (tmp_path / "token").write_text("hunter2-file\n")
    alone.setenv("WEIR_INFLUX__TOKEN_FILE", str(tmp_path / "token"))
    alone.setenv("COLUMNS", "300")
    shown = CliRunner().invoke(app, ["config", "show"]).output
    assert "hunter2-file" not in shown
    assert STARS in shown


def test_values_that_hold_are_shown_beside_their_defaults(alone):
    alone.setenv("WEIR_SINK__BATCH_LINES", "123")
    alone.setenv("WEIR_ALERTS__MQTT_ALARMS", "false")
    listed = {each.name: (each.value, each.default) for each in list_settings(ToolSettings())}
    assert listed["WEIR_SINK__BATCH_LINES"] == ("123", "10000")
    assert listed["WEIR_ALERTS__MQTT_ALARMS"] == ("false", "true")
    assert listed["WEIR_KAFKA__CA_FILE"] == ("", "")


def test_what_a_setting_takes_is_said_in_words():
    takes = {each.name: each.takes for each in list_settings(None)}
    assert takes["WEIR_SINK__BATCH_LINES"] == "whole number from 1 to 50000"
    assert takes["WEIR_INFLUX__TIMEOUT_S"] == "number over 0 to 120"
    assert takes["WEIR_LOG__FORMAT"] == "json, text"
    assert takes["WEIR_MQTT__TLS"] == "true or false"
    assert takes["WEIR_MQTT__CA_FILE"] == "path"
    assert takes["WEIR_MQTT__PASSWORD"] == "secret"


def test_the_page_of_settings_is_current():
    page = configuration.local_stack.CHECKOUT / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == to_markdown(list_settings(None)), (
        "settings have changed: run `weir config show --markdown > docs/settings.md`"
    )


def test_a_setting_that_is_unknown_ends_with_its_name_and_code_78(alone):
    alone.setenv("WEIR_SINK__BATCHLINES", "1")
    result = CliRunner().invoke(app, ["config", "show"])
    assert result.exit_code == 78
    assert "WEIR_SINK__BATCHLINES" in result.stderr
    assert "Traceback" not in result.output


def stack(tmp_path):
    return Stack(tmp_path, Ports(21883, 29092, 29093, 28086))


def test_services_get_the_stacks_addresses_whatever_stands_in_the_shell(tmp_path):
    """A bootstrap address that was set for another purpose must not receive the demo's data."""
    told = {"WEIR_KAFKA__BOOTSTRAP": "production:9092", "WEIR_SINK__BATCH_LINES": "7", "HOME": "/root"}
    made = local_stack.service_environment(stack(tmp_path), told, {})
    assert made["WEIR_KAFKA__BOOTSTRAP"] == "127.0.0.1:29092"
    assert made["WEIR_SINK__BATCH_LINES"] == "7"
    assert "HOME" not in made


def test_services_find_their_files_wherever_the_command_was_typed(tmp_path):
    made = local_stack.service_environment(stack(tmp_path), {}, {})
    assert Path(made["WEIR_ALERTS__RULES_DIR"]).is_dir()
    assert made["WEIR_STREAM__DATA_DIR"] == str(tmp_path / "faust")


def test_a_persons_settings_win_over_the_demos(tmp_path):
    preset = {"WEIR_STREAM__DEVICE_TYPES_FILE": "/demo.yaml", "WEIR_LOG__LEVEL": "ERROR"}
    told = {"WEIR_STREAM__DEVICE_TYPES_FILE": "/mine.yaml"}
    made = local_stack.service_environment(stack(tmp_path), told, preset)
    assert made["WEIR_STREAM__DEVICE_TYPES_FILE"] == "/mine.yaml"
    assert made["WEIR_LOG__LEVEL"] == "ERROR"


def test_what_services_run_with_is_kept_for_this_user_only(tmp_path):
    local_stack.remember(stack(tmp_path), {"WEIR_INFLUX__TOKEN": "hunter2"})
    (kept,) = tmp_path.glob("*.json")
    assert kept.stat().st_mode & 0o077 == 0


def test_the_run_folder_is_the_checkouts_unless_it_is_named(tmp_path):
    assert local_stack.run_dir({}) == local_stack.CHECKOUT / ".run"
    assert local_stack.run_dir({"LOCAL_RUN_DIR": str(tmp_path)}) == tmp_path
