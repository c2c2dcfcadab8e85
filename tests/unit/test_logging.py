"""The log: what a device sends can neither forge a line of it nor steer the terminal that shows it."""

import json
import logging as standard

import pytest

from services.runtime import logging

HOSTILE = [
    "pump\n2026-11-23T10:00:00Z [error    ] data_lost  service=bridge",
    "pump\r[info     ] all_is_well",
    "\x1b[2J\x1b[1;1Hcleared",
    "\x1b]0;title\x07",
    "a\x85b\u2028c\u2029d",
    "\x00\x7f\x9b31m",
    "\u202eesrever",
    "\ud800",
]


def lines(capsys):
    written = capsys.readouterr().err
    assert written.endswith("\n")
    # As a terminal or a log shipper splits, not as Python does: at line feeds and carriage returns.
    return written[:-1].replace("\r", "\n").split("\n")


@pytest.fixture(params=["text", "json"])
def form(request):
    return request.param


@pytest.mark.parametrize("text", HOSTILE)
def test_device_text_stays_one_value_on_one_line(form, text, capsys):
    log = logging.configure("bridge", level="DEBUG", form=form)
    log.warning("odd_device", device=text, nested={"ids": [text]})
    (line,) = lines(capsys)
    assert line.isprintable()
    if form == "json":
        assert json.loads(line)["device"] == text


@pytest.mark.parametrize("text", HOSTILE)
def test_device_text_in_an_exception_begins_no_line(form, text, capsys):
    log = logging.configure("bridge", level="DEBUG", form=form)
    log.error("defect", exc_info=ValueError(text))
    first, *more = lines(capsys)
    assert "defect" in first
    assert all(line.isprintable() for line in [first, *more])
    assert all(line.startswith("  ") for line in more if line)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_library_s_own_lines_are_no_way_round_it(form, text, capsys):
    logging.configure("bridge", form=form)
    standard.getLogger("library").warning("refused %s", text)
    (line,) = lines(capsys)
    assert line.isprintable()
