"""A small parser of line protocol, written from InfluxDB's specification and not from our encoder."""

from typing import NamedTuple


class Point(NamedTuple):
    measurement: str
    tags: dict[str, str]
    fields: dict[str, float | str]
    time: int


def parse(line: bytes) -> Point:
    """One line -> its point. Backslash escapes `, =` and space in names and tags, quote and itself in texts."""
    scanner = _Scanner(line.decode())
    measurement = scanner.name(", ")
    tags = {}
    while scanner.take(","):
        key = scanner.name("=")
        scanner.expect("=")
        tags[key] = scanner.name(", ")
    scanner.expect(" ")
    fields: dict[str, float | str] = {}
    while True:
        key = scanner.name("=")
        scanner.expect("=")
        fields[key] = scanner.text() if scanner.take('"') else float(scanner.until(", "))
        if not scanner.take(","):
            break
    scanner.expect(" ")
    return Point(measurement, tags, fields, int(scanner.until("")))


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def take(self, char: str) -> bool:
        found = self._text[self._at : self._at + 1] == char
        self._at += found
        return found

    def expect(self, char: str) -> None:
        assert self.take(char), f"{char!r} expected at {self._at} of {self._text!r}"

    def until(self, stops: str) -> str:
        start = self._at
        while self._at < len(self._text) and self._text[self._at] not in stops:
            self._at += 1
        return self._text[start : self._at]

    def name(self, stops: str) -> str:
        """As InfluxDB reads it: a character is escaped when a backslash stands right before it."""
        read = ""
        while self._at < len(self._text):
            char, following = self._text[self._at], self._text[self._at + 1 : self._at + 2]
            if char == "\\" and following and following in ",= ":
                read += following
                self._at += 2
                continue
            if char in stops:
                break
            assert char not in "\n\r", "a line break ends the line"
            read += char
            self._at += 1
        assert read, f"empty name at {self._at} of {self._text!r}"
        return read

    def text(self) -> str:
        read = ""
        while not self.take('"'):
            char = self._text[self._at]
            if char == "\\" and self._text[self._at + 1] in '"\\':
                self._at += 1
                char = self._text[self._at]
            read += char
            self._at += 1
        return read
