"""Routes: which MQTT topics Weir reads, how a topic names its device, and which decoder reads the payload.

A topic pattern is an MQTT filter whose levels may be named parts: `plant/{site}/{device}/data`; `+` stands for any one
level, a last `#` for the rest. What a topic lacks (often the tenant) the route gives as a constant. The bridge places
messages by routes; the stream asks them for a route's decoder.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas import mqtt
from schemas.reasons import Reason
from services.runtime import yaml_text
from services.runtime.errors import ConfigurationError

PARTS: Final = ("tenant", "site", "device")

_OURS: Final = "weir-out"
_CACHED_TOPICS: Final = 32_768
_LONGEST_CACHED: Final = 256
"""Characters: the contract's own topics have at most 217. With it the cache is bounded in bytes too, by 32 MB."""
_LONGEST_TOPIC: Final = 1024
"""Characters; a longer topic is refused unseen."""


class Kind(StrEnum):
    """What a route's messages are."""

    TELEMETRY = "telemetry"
    STATUS = "status"


class Route(NamedTuple):
    """One kind of topic. `levels` is the pattern, split; `constants` gives the parts that the topic does not name."""

    name: str
    levels: tuple[str, ...]
    kind: Kind
    decoder: str
    constants: Mapping[str, str]

    @property
    def pattern(self) -> str:
        """The pattern as it was written."""
        return "/".join(self.levels)

    @property
    def filter(self) -> str:
        """The MQTT filter that covers the pattern."""
        return "/".join("+" if _part(level) else level for level in self.levels)

    def match(self, levels: list[str]) -> dict[str, str] | None:
        """The parts that a topic, split into levels, names; None where the pattern does not match."""
        open_ended = self.levels[-1] == "#"
        fixed = self.levels[:-1] if open_ended else self.levels
        if len(levels) < len(fixed) or (len(levels) > len(fixed) and not open_ended):
            return None
        found = dict(self.constants)
        for wanted, level in zip(fixed, levels, strict=False):
            if part := _part(wanted):
                found[part] = level
            elif wanted not in ("+", level):
                return None
        return found


class Placed(NamedTuple):
    """A topic that names a device; `key` is that of its records."""

    route: Route
    tenant: str
    site: str
    device: str
    key: bytes


class Rejected(NamedTuple):
    """A topic that names no device: `unroutable` or `bad_topic`, and why, for a person."""

    reason: Reason
    detail: str


class _NotPlaced(Exception):
    """Carries a `Rejected` past the cache, which keeps no exceptions: bad topics must not push good ones out."""

    def __init__(self, rejected: Rejected) -> None:
        self.rejected = rejected


class Routes:
    """An ordered list of routes; the first that places a topic wins.

    Raises:
        ConfigurationError: Two routes share a name, or match some topics in common with neither being the narrower:
            an MQTT broker may deliver such a message twice.
    """

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._by_name = {route.name: route for route in routes}
        if len(self._by_name) != len(routes):
            raise ConfigurationError(f"two routes share a name: {sorted(route.name for route in routes)}; rename one")
        self._routes = routes
        self._filters = _widest([mqtt.IN_FILTER, *(route.filter for route in routes)])
        self._cached = lru_cache(_CACHED_TOPICS)(self._find_placed)

    def __getitem__(self, name: str) -> Route:
        """The route of that name; KeyError where there is none."""
        return self._by_name[name]

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def filters(self) -> tuple[str, ...]:
        """MQTT filters to subscribe; no topic matches two of them."""
        return self._filters

    def place(self, topic: str) -> Placed | Rejected:
        """Whose message a topic carries. Never raises, whatever the topic."""
        if len(topic) > _LONGEST_TOPIC:
            return Rejected(Reason.BAD_TOPIC, f"topic of {len(topic)} characters; at most {_LONGEST_TOPIC}")
        if len(topic) > _LONGEST_CACHED:
            return self._find(topic)
        try:
            return self._cached(topic)
        except _NotPlaced as refused:
            return refused.rejected

    def _find_placed(self, topic: str) -> Placed:
        found = self._find(topic)
        if isinstance(found, Rejected):
            raise _NotPlaced(found)
        return found

    def _find(self, topic: str) -> Placed | Rejected:
        levels = topic.split("/")
        if levels[0] == _OURS:
            return Rejected(Reason.UNROUTABLE, "Weir publishes here, and reads nothing of its own")
        bad: Rejected | None = None
        for route in self._routes:
            parts = route.match(levels)
            if parts is None:
                continue
            wrong = next((part for part in PARTS if not mqtt.ID.fullmatch(parts[part])), None)
            if wrong is None:
                tenant, site, device = parts["tenant"], parts["site"], parts["device"]
                return Placed(route, tenant, site, device, f"{tenant}/{device}".encode())
            bad = bad or Rejected(Reason.BAD_TOPIC, f"route {route.name}: {parts[wrong][:64]!r} is no {wrong} id")
        return bad or Rejected(Reason.UNROUTABLE, "no route matches the topic")


class _RouteText(BaseModel):
    """One entry of `routes:` in the file."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    topic: str = Field(min_length=1, max_length=_LONGEST_TOPIC)
    kind: Kind = Kind.TELEMETRY
    decoder: str = Field("json", pattern=r"^[a-z0-9_]{1,32}$")
    tenant: Annotated[str | None, Field(pattern=rf"^{mqtt.ID.pattern}$")] = None
    site: Annotated[str | None, Field(pattern=rf"^{mqtt.ID.pattern}$")] = None
    device: Annotated[str | None, Field(pattern=rf"^{mqtt.ID.pattern}$")] = None


class _RoutesFile(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid")

    routes: list[_RouteText]


DEFAULTS: Final = (
    Route("telemetry", tuple(mqtt.TELEMETRY_ROUTE.split("/")), Kind.TELEMETRY, "json", {}),
    Route("status", tuple(mqtt.STATUS_ROUTE.split("/")), Kind.STATUS, "json", {}),
)
"""The contract's own topics; always there, after those of the file."""


def load_routes(path: Path | None) -> Routes:
    """Routes of a YAML file (`deploy/bridge/routes.example.yaml` shows one), then the defaults; None: the defaults.

    Raises:
        ConfigurationError: The file cannot be read, or a route in it makes no sense; names the route and the fix.
    """
    if path is None:
        return Routes(DEFAULTS)
    try:
        text = _RoutesFile.model_validate(yaml_text.load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}; WEIR_BRIDGE__ROUTES_FILE must name a readable file") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is no YAML: {error}") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()[:20])
        raise ConfigurationError(f"{path}: {wrong}") from None
    try:
        return Routes((*(_route(entry) for entry in text.routes), *DEFAULTS))
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _route(text: _RouteText) -> Route:
    levels = tuple(text.topic.split("/"))
    named = [part for level in levels if (part := _part(level))]
    constants = {part: value for part in PARTS if (value := getattr(text, part)) is not None}
    for level in levels:
        if ("{" in level or "}" in level) and _part(level) not in PARTS:
            raise ConfigurationError(
                f"route {text.name}: {level!r} in its topic; a level is {{tenant}}, {{site}}, {{device}} or plain text"
            )
        if ("+" in level and level != "+") or ("#" in level and level != "#"):
            raise ConfigurationError(f"route {text.name}: {level!r} in its topic; + and # stand for whole levels")
    if "#" in levels[:-1]:
        raise ConfigurationError(f"route {text.name}: # in its topic; it can only be the last level")
    if levels[0] == _OURS:
        raise ConfigurationError(f"route {text.name}: {_OURS}/ is where Weir publishes; reading it would be a loop")
    for part in PARTS:
        if named.count(part) + (part in constants) != 1:
            raise ConfigurationError(
                f"route {text.name}: must say its {part} exactly once: {{{part}}} as a level of its topic,"
                f" or `{part}:` beside it where all of its messages have the same"
            )
    return Route(text.name, levels, text.kind, text.decoder, constants)


def _part(level: str) -> str | None:
    return level[1:-1] if level.startswith("{") and level.endswith("}") else None


def _widest(filters: list[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for one in dict.fromkeys(filters):
        if any(_covers(other.split("/"), one.split("/")) for other in filters if other != one):
            continue
        kept.append(one)
    for i, one in enumerate(kept):
        for other in kept[i + 1 :]:
            if _meet(one.split("/"), other.split("/")):
                raise ConfigurationError(
                    f"MQTT filters {one} and {other} have topics in common and neither covers the other, so that a"
                    " broker may deliver a message twice; make one route's topic cover the other's, or tell them apart"
                )
    return tuple(kept)


def _covers(wide: list[str], narrow: list[str]) -> bool:
    if wide == ["#"]:
        return True
    if not wide or not narrow:
        return not wide and not narrow
    if narrow[0] == "#":
        return False
    return wide[0] in ("+", narrow[0]) and _covers(wide[1:], narrow[1:])


def _meet(one: list[str], other: list[str]) -> bool:
    if one[:1] == ["#"] or other[:1] == ["#"]:
        return True
    if not one or not other:
        return not one and not other
    return (one[0] == other[0] or "+" in (one[0], other[0])) and _meet(one[1:], other[1:])
