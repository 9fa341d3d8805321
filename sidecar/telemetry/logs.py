"""The log: JSON lines, or aligned and coloured text on a terminal, with every credential masked.

Each record is masked as a whole, tracebacks included, after it has become text. Only our own
modules log below WARNING; level and format can change while the program runs.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TextIO

from sidecar.config.snapshot import Log
from sidecar.telemetry.pen import Pen
from sidecar.telemetry.redact import Redactor
from sidecar.wire import json

LAST_LINES = 1.0  # seconds for the last lines to be written

_OURS = ("sidecar", "tunnel")
_FIELDS = "fields"
_COLOURS = {"DEBUG": "90", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}


def fields(**values: object) -> dict[str, object]:
    """For `extra`: the named values of a record, in this order; those that are None are left out.

    `logger.info("event", extra=fields(backend="home", ms=12.5))`
    """
    return {_FIELDS: {name: value for name, value in values.items() if value is not None}}


class Logs:
    """Owns the one handler of the program's log, on standard error.

    `lost` is told of each line that could not be written, and why.
    """

    def __init__(
        self,
        redact: Redactor,
        lost: Callable[[BaseException | None], None],
        stream: TextIO | None = None,
    ) -> None:
        self._redact = redact
        self._stream = stream if stream is not None else sys.stderr
        self._pen = Pen(self._stream, lost)
        self._handler = _Handler(self._pen, lost)

    def apply(self, settings: Log) -> None:
        """Log at this level, in this format, from now on."""
        pretty = settings.format == "pretty" or (
            settings.format == "auto" and self._stream.isatty()
        )
        colour = self._stream.isatty() and "NO_COLOR" not in os.environ
        self._handler.setFormatter(
            _Pretty(self._redact, colour) if pretty else _JsonLines(self._redact)
        )
        root = logging.getLogger()
        if self._handler not in root.handlers:
            root.addHandler(self._handler)
        root.setLevel(logging.WARNING)
        for name in _OURS:
            logging.getLogger(name).setLevel(settings.level.upper())
        # one line per request is ours; aiohttp's would be a second one
        logging.getLogger("aiohttp.access").disabled = True

    def flush(self) -> None:
        """Wait until what was logged is written, as long as somebody reads it."""
        self._pen.flush(LAST_LINES)

    def close(self) -> None:
        """Take the handler away again."""
        logging.getLogger().removeHandler(self._handler)
        self.flush()


class _Handler(logging.Handler):
    def __init__(self, pen: Pen, lost: Callable[[BaseException | None], None]) -> None:
        super().__init__()
        self._pen, self._lost = pen, lost

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a record that cannot be told must fail nothing
            self._lost(error)
        else:
            self._pen.write(line)


class _JsonLines(logging.Formatter):
    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **_fields_of(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return self._redact(json.dumps(line).decode())


class _Pretty(logging.Formatter):
    def __init__(self, redact: Redactor, colour: bool) -> None:
        super().__init__()
        self._redact, self._colour = redact, colour

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).astimezone()
        level = self._paint(_COLOURS.get(record.levelname, "0"), f"{record.levelname:<7}")
        words = [f"{moment:%H:%M:%S}.{record.msecs:03.0f}", level, f"{record.getMessage():<8}"]
        words += [
            self._paint("90", f"{name}=") + _plain(value)
            for name, value in _fields_of(record).items()
        ]
        text = " ".join(words).rstrip()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return self._redact(text)

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text


def _fields_of(record: logging.LogRecord) -> Mapping[str, object]:
    found: Mapping[str, object] = getattr(record, _FIELDS, {})
    return found


def _plain(value: object) -> str:
    """A value for people: attempts as a chain, words without quotes."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " → ".join(map(_plain, value)) or "none"
    if isinstance(value, Mapping):
        if "backend" in value and "outcome" in value:
            why = f": {value['problem']}" if value.get("problem") else ""
            return f"{value['backend']}[{value['outcome']} {value['ms']} ms{why}]"
        return json.dumps(value).decode()
    return str(value)
