"""Which silent devices have windows that were not shown yet. Nothing of it is state: after a takeover all is new."""

from collections.abc import Iterable

from services.stream.device import Device


class _Spell:
    """A device's silence: after which record, up to which end its open windows were shown, the last end."""

    __slots__ = ("after", "last_end_us", "shown_us")

    def __init__(self, device: Device) -> None:
        self.after = device.applied
        self.shown_us = 0
        self.last_end_us = device.windows.last_end_us()


class Silence:
    """See the module."""

    def __init__(self) -> None:
        self._spells: dict[str, _Spell] = {}

    def with_windows(
        self, devices: Iterable[Device], received_before_us: int, ended_before_us: int
    ) -> list[tuple[Device, int]]:
        """Devices with open windows to show, silent since `received_before_us`; each with what was shown of them.

        Each then counts as shown up to `ended_before_us`. Who has shown everything costs no more than a look.
        """
        found = []
        for device in devices:
            if device.received_us >= received_before_us or not device.windows.has_open:
                continue
            spell = self._spells.get(device.key)
            if spell is None or spell.after != device.applied:
                spell = self._spells[device.key] = _Spell(device)
            if spell.shown_us < spell.last_end_us:
                found.append((device, spell.shown_us))
                spell.shown_us = ended_before_us
        return found

    def forget(self, device: Device) -> None:
        """The device is gone."""
        self._spells.pop(device.key, None)
