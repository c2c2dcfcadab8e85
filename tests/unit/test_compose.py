"""docker-compose.yml against what it names (settings, files, variables), and the rules that every container keeps."""

import re
from pathlib import Path

import pytest
import yaml

from schemas import influx
from services.cli import app
from services.runtime.settings import known_names

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("weir-iot:")}
DOCKERFILE = (ROOT / "deploy/image/Dockerfile").read_text()
COMMANDS = {command.name or command.callback.__name__ for command in app.registered_commands}
SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|KEY$")

every_service = pytest.mark.parametrize("name", sorted(SERVICES))
every_one_of_ours = pytest.mark.parametrize("name", sorted(OURS))


def settings_in_the_image():
    return dict(re.findall(r"(WEIR_\w+)=(\S+)", DOCKERFILE))


def variables():
    """Each `${NAME...}` of the compose file -> what follows the name, for every place where it stands."""
    found = {}
    for name, rest in re.findall(r"\$\{(\w+)([^{}]*)", TEXT):
        found.setdefault(name, []).append(rest)
    return found


def passed_on():
    """Variables that go from .env into a container under their own name (a key without a value)."""
    return {key for s in SERVICES.values() for key, value in s.get("environment", {}).items() if value is None}


def documented():
    """Name -> (whether it must be filled in, its comment) in .env.example."""
    found, comment = {}, []
    for line in (ROOT / ".env.example").read_text().splitlines():
        if match := re.fullmatch(r"(#?)(\w+)=(.*)", line):
            found[match[2]] = (not match[1] and not match[3], " ".join(comment))
        comment = [*comment, line] if line.startswith("# ") else comment if "=" in line else []
    return found


@every_one_of_ours
def test_every_weir_variable_is_a_setting(name):
    told = {key for key in SERVICES[name]["environment"] if key.startswith("WEIR_")}
    assert told | set(settings_in_the_image()) <= known_names()


@every_one_of_ours
def test_our_services_run_commands_that_exist(name):
    assert SERVICES[name]["command"][0] in COMMANDS
    assert "entrypoint" not in SERVICES[name]


def test_the_compose_file_and_the_example_of_env_name_the_same_variables():
    assert documented().keys() == variables().keys() | passed_on()


def test_every_variable_is_explained():
    unexplained = [name for name, (_, comment) in documented().items() if not comment]
    assert unexplained == []


def test_no_secret_has_a_default():
    for name, places in variables().items():
        if SECRET.search(name):
            assert all(rest.startswith(":?") or rest == ":-$" or rest == ":-" for rest in places), (name, places)


def test_what_must_be_filled_in_is_exactly_what_compose_refuses_to_miss():
    must = {name for name, places in variables().items() if any(rest.startswith(":?") for rest in places)}
    assert must == {name for name, (empty, _) in documented().items() if empty}


def test_no_secret_stands_in_the_file():
    values = {
        (name, key): str(value)
        for name, service in SERVICES.items()
        for key, value in service.get("environment", {}).items()
        if SECRET.search(key) and value is not None
    }
    assert {place: value for place, value in values.items() if not value.startswith("${")} == {}


@every_service
def test_images_are_pinned(name):
    _, _, tag = SERVICES[name]["image"].rpartition(":")
    assert re.fullmatch(r"\d+\.\d+\.\d+", tag)


def test_our_image_carries_the_project_s_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert {service["image"] for service in OURS.values()} == {f"weir-iot:{version}"}


@every_service
def test_every_container_is_watched(name):
    check = SERVICES[name].get("healthcheck")
    if name == "simulator":
        assert check == {"disable": True}, "it serves nothing that could be asked"
    elif name in OURS:
        assert check is None, "the image's own check is meant"
    else:
        assert {"test", "interval", "timeout", "retries", "start_period"} <= check.keys()


@every_service
def test_every_container_restarts_and_runs_without_privileges(name):
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["user"].partition(":")[0] not in ("", "0", "root")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert not service.get("privileged")


@every_one_of_ours
def test_our_containers_can_write_only_to_memory(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"][0].startswith("/tmp:")
    assert all(volume.endswith(":ro") for volume in service.get("volumes", []))


@every_service
def test_dependencies_are_waited_for_until_they_are_healthy(name):
    for dependency, how in SERVICES[name].get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert dependency in SERVICES


@every_service
def test_each_service_waits_for_whatever_its_environment_names(name):
    told = " ".join(str(value) for value in SERVICES[name].get("environment", {}).values())
    named = {other for other in SERVICES if other != name and re.search(rf"\b{other}(:\d|$)", told)}
    if name == "simulator":
        assert "bridge" in SERVICES[name]["depends_on"], "which waits for the broker itself"
    else:
        assert named <= SERVICES[name].get("depends_on", {}).keys() | {"stream"}


@every_service
def test_ports_are_open_on_loopback_only_by_default(name):
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"\$\{BIND_ADDRESS:-127\.0\.0\.1\}:\$\{\w+_PORT:-\d+\}:\d+", port)


def test_kafka_can_not_be_reached_from_outside():
    assert SERVICES["kafka"]["networks"] == ["records"]
    assert COMPOSE["networks"]["records"] == {"internal": True}
    assert "ports" not in SERVICES["kafka"]


@every_service
def test_services_that_name_each_other_share_a_network(name):
    for dependency in SERVICES[name].get("depends_on", {}):
        if (name, dependency) != ("simulator", "bridge"):
            assert set(SERVICES[name]["networks"]) & set(SERVICES[dependency]["networks"]), dependency


@every_service
def test_what_is_mounted_exists(name):
    for volume in SERVICES[name].get("volumes", []):
        source = volume.partition(":")[0]
        if source.startswith("."):
            assert volume.endswith(":ro")
            assert (ROOT / source).is_dir(), source
        else:
            assert source in COMPOSE["volumes"]


def test_grafana_is_given_every_variable_that_its_provisioning_reads():
    provisioning = ROOT / "deploy/grafana/provisioning"
    read = {
        name
        for path in provisioning.rglob("*.y*ml")
        for name in re.findall(r"(?<!\$)\$\{?([A-Z][A-Z0-9_]+)", path.read_text())
    }
    assert read == {name for name in SERVICES["grafana"]["environment"] if not name.startswith("GF_")}


def test_the_simulator_starts_only_when_asked_for():
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"simulator"}
    assert SERVICES["simulator"]["profiles"] == ["demo"]


def test_influxdb_makes_the_buckets_that_the_contract_names():
    assert SERVICES["influxdb"]["environment"]["DOCKER_INFLUXDB_INIT_BUCKET"] == influx.BUCKET
    script = ROOT / "deploy/influxdb/create-buckets.sh"
    assert f'"name\\": \\"{influx.BUCKET_LONG}\\"' in script.read_text()
    assert script.stat().st_mode & 0o111, "InfluxDB's image runs only what is executable"
