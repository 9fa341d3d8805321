"""What the stand-in is to do wrong: `behaviour.json` beside its executable.

The file, which is read again when it changes, holds `scale` (of every wait of the program's own),
`version` (a broken answer to `--version`), `starts` (one object for each start, in order) and
`rest` (for all later starts); any other order may stand in one of these, or beside them for all.
`holds` names what waits until it is named no more: "dns", "registration".
A start takes its number from a file of its own in `starts/`, where it also leaves its command line.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

GLANCE = 0.02  # seconds between two looks at the file


class Behaviour:
    """What is asked of this process; everything is as the real program does it where nothing is."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.number = 0
        self._file = os.path.join(folder, "behaviour.json")
        self._stamp: tuple[int, int] | None = None
        self._orders: dict[str, Any] = {}
        self._read()

    def claim(self) -> None:
        """Take the next number; what is asked of that start holds from now on."""
        starts = os.path.join(self.folder, "starts")
        os.makedirs(starts, exist_ok=True)
        self.number = sum("." not in each for each in os.listdir(starts))
        told = {"pid": os.getpid(), "argv": sys.argv[1:], "environ": dict(os.environ)}
        beside = os.path.join(starts, f"{os.getpid()}.new")
        with open(beside, "w", encoding="ascii") as file:
            json.dump(told, file)
        is_ours = False
        while not is_ours:  # it bears its number once it is whole
            self.number += 1
            with contextlib.suppress(FileExistsError):
                os.link(beside, os.path.join(starts, str(self.number)))
                is_ours = True
        os.unlink(beside)

    def tell_port(self, port: int) -> None:
        """Leave the port of the metrics server where tests find it without a log."""
        path = os.path.join(self.folder, "starts", f"{self.number}.port")
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(str(port))
        os.replace(path + ".new", path)

    def _read(self) -> None:
        try:
            seen = os.stat(self._file)
        except FileNotFoundError:
            return
        stamp = (seen.st_mtime_ns, seen.st_ino)
        if stamp != self._stamp:
            with open(self._file, encoding="utf-8") as file:
                self._orders = json.load(file)
            self._stamp = stamp

    def get(self, name: str) -> Any:
        """An order to this start, or to all; None where there is none."""
        self._read()
        starts = self._orders.get("starts", [])
        mine = starts[self.number - 1] if 0 < self.number <= len(starts) else None
        own = self._orders.get("rest", {}) if mine is None else mine
        return own.get(name, self._orders.get(name))

    def holds(self, what: str) -> bool:
        """Whether this is to wait."""
        return what in (self.get("holds") or ())

    def seconds(self, real: float) -> float:
        """What a wait of the real program lasts here."""
        scale = self.get("scale")
        return real if scale is None else real * float(scale)

    def sleep(self, real: float) -> None:
        time.sleep(self.seconds(real))


def chance() -> float:
    """A number in [0, 1); the module `random` takes long to import."""
    return int.from_bytes(os.urandom(6), "big") / (1 << 48)


def new_uuid() -> str:
    made = bytearray(os.urandom(16))
    made[6] = made[6] & 0x0F | 0x40
    made[8] = made[8] & 0x3F | 0x80
    text = made.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
