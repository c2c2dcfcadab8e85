"""A small disk of its own for a server's data, which can be made full: a tmpfs, where this user may mount one."""

import os
import subprocess
from pathlib import Path
from typing import Final

_SIZE_BYTES: Final = 2 * 2**30
_ROOM_BYTES: Final = 256 * 1024


class Disk:
    """Nothing is mounted before `mount`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.absent_because: str | None = "it was not mounted"
        """Why there is none, None where there is one."""

    def mount(self) -> None:
        """Mount it over the folder, which is made; see `absent_because`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.absent_because = _mount("-t", "tmpfs", "-o", f"size={_SIZE_BYTES}", "weir-drill", str(self._folder))

    def unmount(self) -> None:
        """Away with it, and with what is on it."""
        if self.absent_because is None:
            # Already gone is fine: the run's table must not be lost for it.
            subprocess.run(["umount", str(self._folder)], check=False)
            self.absent_because = "it was unmounted"

    def fill(self) -> None:
        """It is full from now on: it is made as small as what is on it."""
        disk = os.statvfs(self._folder)
        self._resize((disk.f_blocks - disk.f_bfree) * disk.f_frsize + _ROOM_BYTES)

    def free(self) -> None:
        """There is room, also where it never was full."""
        if self.absent_because is None:
            self._resize(_SIZE_BYTES)

    def _resize(self, size: int) -> None:
        if why := _mount("-o", f"remount,size={size}", str(self._folder)):
            raise OSError(why)


def _mount(*arguments: str) -> str | None:
    """None where it was done, else why not."""
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip() or f"mount ended with {done.returncode}"
