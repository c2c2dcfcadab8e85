"""`make fuzz`: the long form. SEED and COUNT give the same inputs again; ends non-zero where a promise broke."""

import argparse
import sys
import time
import traceback
from collections import Counter

from services.bridge.packets import Message
from tests.hostile.hostile_core import Core
from tests.hostile.hostile_inputs import Fuzzer

RESTART_EVERY = 10_000
"""Inputs between two checkpoints from which a new owner goes on."""


class Broken(Exception):
    """A promise broke; the message says at which input."""


def fuzz(seed: int, count: int, *, say_s: float = 30.0) -> Counter[str]:
    """Feed `count` inputs to a core; what became of them, by outcome.

    Raises:
        Broken: An input escaped as something else than readings, dead letters or a repeat.
    """
    core, said_s = Core(), time.monotonic()
    for number, (made, received_us) in enumerate(Fuzzer(seed).inputs(count)):
        try:
            if isinstance(made, Message):
                core.publish(made, received_us)
            else:
                core.append(made)
            if number % RESTART_EVERY == RESTART_EVERY - 1:
                core.restart()
        except Exception as error:
            what = repr(made)
            shown = what if len(what) < 3000 else what[:1500] + " … " + what[-1500:]
            raise Broken(f"seed {seed}, input {number} at {received_us}: {shown}") from error
        if time.monotonic() - said_s > say_s:
            said_s = time.monotonic()
            sys.stdout.write(f"  {number + 1:,} inputs\n")
            sys.stdout.flush()
    core.restart()
    core.ended["lines"], core.ended["series"] = core.lines, len(core.series)
    core.ended["alarm events"] = core.journal.events_written
    return core.ended


def main() -> int:
    """Run, and print what became of the inputs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200_000)
    told = parser.parse_args()
    began = time.process_time()
    try:
        ended = fuzz(told.seed, told.count)
    except Broken:
        traceback.print_exc()
        return 1
    print_counts(told.seed, told.count, ended, time.process_time() - began)
    return 0


def print_counts(seed: int, count: int, ended: Counter[str], cpu_s: float) -> None:
    """As a table."""
    ways = ("decoded", "repeat", "dead", "status", "retained")
    assert sum(ended[way] for way in ways) == count, "every input is accounted for"
    lines = [f"seed {seed}: {count:,} inputs in {cpu_s:.0f} CPU s; none escaped; the ledgers add up"]
    lines += [f"  {ended[way]:>9,}  {way}" for way in ways]
    lines += [f"  {number:>9,}  {name}" for name, number in sorted(ended.items()) if name not in ways]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
