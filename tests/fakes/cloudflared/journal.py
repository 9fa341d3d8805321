"""The log of the stand-in: on stderr alone, written without any buffer, as text or as JSON.

A full pipe stops whoever writes; a reader that is gone ends the process by SIGPIPE.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LEVELS = ("debug", "info", "warn", "error", "fatal")
SHORT = {"debug": "DBG", "info": "INF", "warn": "WRN", "error": "ERR", "fatal": "FTL"}
STDERR = 2


class Journal:
    """Lines of one format, from one level on."""

    def __init__(self, level: str = "info", *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._lock = threading.Lock()
        known = level in LEVELS
        self._least = LEVELS.index(level if known else "info")
        if not known:
            self.error(f'Failed to parse log level "{level}", using "info" instead')

    @property
    def is_debug(self) -> bool:
        return self._least == 0

    def debug(self, message: str, **fields: Any) -> None:
        self._write("debug", message, fields)

    def info(self, message: str, **fields: Any) -> None:
        self._write("info", message, fields)

    def warn(self, message: str, **fields: Any) -> None:
        self._write("warn", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        self._write("error", message, fields)

    def _write(self, level: str, message: str, fields: dict[str, Any]) -> None:
        if LEVELS.index(level) >= self._least:
            self.raw(self.line(level, message, fields))

    def line(self, level: str, message: str, fields: dict[str, Any]) -> bytes:
        """One line as it is written, its end included."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._as_json:
            entry = {**fields, "level": level, "time": now}
            if message:
                entry["message"] = message
            text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            for sign in "<>&":
                text = text.replace(sign, f"\\u{ord(sign):04x}")
            return text.encode("utf-8", "replace") + b"\n"
        names = sorted(fields, key=lambda name: (name != "error", name))
        more = "".join(f" {name}={_shown(fields[name])}" for name in names)
        return f"{now} {SHORT[level]} {message}{more}\n".encode("utf-8", "replace")

    def raw(self, data: bytes) -> None:
        """Bytes as they are; blocks while the pipe is full."""
        with self._lock:
            rest = memoryview(data)
            try:
                while rest:
                    rest = rest[os.write(STDERR, rest) :]
            except BrokenPipeError:
                die_of(signal.SIGPIPE)


def die_of(number: int) -> None:
    """End as a process does that a signal has killed, from any thread."""
    import ctypes  # takes long, and only a dying process needs it

    # `signal.signal` works in the main thread alone; the C library does not mind
    ctypes.CDLL(None).signal(number, None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    time.sleep(60)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    plain = text and all("!" <= sign <= "~" and sign not in '"\\' for sign in text)
    return text if plain else json.dumps(text, ensure_ascii=False)
