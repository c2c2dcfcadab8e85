"""Covariances that follow what is seen, with a memory: pure functions over lists of rows."""


def learnt(covariance: list[list[float]], away: list[float], gain: float) -> list[list[float]]:
    """The covariance after one more row of numbers, `away` from their means; `gain`: the row's part in it."""
    keep = 1.0 - gain
    rows: list[list[float]] = []
    for own, row in zip(away, covariance, strict=True):
        rows.append([keep * (entry + gain * (own * other)) for entry, other in zip(row, away, strict=True)])
    return rows


def learnt_apart(covariance: list[list[float]], away: list[float], gains: list[float]) -> list[list[float]]:
    """As `learnt`, each entry by the larger gain of its two numbers; those of a number without a gain stay."""
    rows: list[list[float]] = []
    for i, row in enumerate(covariance):
        entries = row.copy()
        for j in range(len(row)):
            if gains[i] > 0.0 and gains[j] > 0.0:
                gain = max(gains[i], gains[j])
                entries[j] = (1.0 - gain) * (row[j] + gain * (away[i] * away[j]))
        rows.append(entries)
    return rows


def grown(covariance: list[list[float]], more: int) -> list[list[float]]:
    """The covariance with so many more numbers, of which nothing is known."""
    size = len(covariance) + more
    return [row + [0.0] * more for row in covariance] + [[0.0] * size for _ in range(more)]


def shrunk(covariance: list[list[float]], place: int) -> list[list[float]]:
    """The covariance of all numbers but one."""
    return [row[:place] + row[place + 1 :] for i, row in enumerate(covariance) if i != place]
