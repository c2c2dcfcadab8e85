"""How a `JointScorer` is stored: its numbers as arrays of little-endian doubles, rows of the window in their order."""

import struct
from array import array

from services.scoring.joint import MOST_SENSORS, WINDOW, JointScorer
from services.scoring.state import Codec, State, StateUnreadable, encode, register, restore


def _encode_joint(joint: JointScorer) -> list[State]:
    flat = [
        joint.means,
        joint.seen,
        [entry for row in joint.covariance for entry in row],
        [entry for row in joint.basis for entry in row],
        joint.older + joint.old,
        _by_rows(joint.window),
        _by_rows(joint.present),
        joint.missed,
        joint.largest.without,
    ]
    arrays = [encode(array("d", numbers)) for numbers in flat]
    return [joint.names.copy(), joint.rows, joint.largest.value, encode(joint.record), encode(joint.pace), arrays]


def _restore_joint(joint: JointScorer, fields: object) -> None:
    match fields:
        case [list(names), int(rows), float(largest), list(record), list(pace), list(arrays)]:
            pass
        case _:
            raise StateUnreadable("joint: expected names, rows, largest, record, pace, arrays")
    count = len(names)
    sizes = [count, count, count * count, count * count, 2 * count, WINDOW * count, WINDOW * count]
    if len(arrays) > len(sizes):  # written by a Weir that drops sensors
        sizes += [count, count]
    if not all(isinstance(name, str) for name in names) or count > MOST_SENSORS or len(arrays) != len(sizes):
        raise StateUnreadable("joint: expected sensors' names and nine arrays (seven, before sensors were dropped)")
    numbers: list[list[float]] = []
    for packed, size in zip(arrays, sizes, strict=True):
        if not isinstance(packed, bytes) or len(packed) != 8 * size:
            raise StateUnreadable(f"joint: expected arrays of {sizes} numbers")
        numbers.append(list(struct.unpack(f"<{size}d", packed)))
    joint.names = names.copy()
    joint.places = {name: place for place, name in enumerate(names)}
    joint.means, joint.seen = numbers[0], numbers[1]
    joint.covariance, joint.basis = _rows(numbers[2], count), _rows(numbers[3], count)
    joint.older, joint.old = numbers[4][:count], numbers[4][count:]
    joint.window = [numbers[5][j::count] for j in range(count)]
    joint.present = [numbers[6][j::count] for j in range(count)]
    joint.missed = numbers[7] if len(numbers) > 7 else [0.0] * count
    joint.rows = rows
    joint.largest.value = largest
    joint.largest.without = numbers[8] if len(numbers) > 8 else [1.0] * count
    joint.take_stock()
    restore(joint.record, record)
    restore(joint.pace, pace)


def _by_rows(columns: list[list[float]]) -> list[float]:
    count = len(columns)
    numbers = [0.0] * (WINDOW * count)
    for place, column in enumerate(columns):
        numbers[place::count] = column
    return numbers


def _rows(numbers: list[float], width: int) -> list[list[float]]:
    return [numbers[k : k + width] for k in range(0, len(numbers), width)] if width else []


register(JointScorer, Codec("joint.1", _encode_joint, _restore_joint))
