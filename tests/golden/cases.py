"""Traffic as the vendors document it, and what the program makes of it.

A case is a folder, `tests/golden/<dialect>/<case>/`. What went over the wire stands in

    request.json    a client's body          → neutral.json
    response.json   a backend's whole answer → answer.json
    stream.raw      the bytes of a stream    → events.json
    error.json      {"status", "body"}       → problem.json

and beside it what is expected, written by `make golden` and reviewed in the diff. The traffic is
ours, after the vendors' documents; none of it was recorded.
"""

import json as standard
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from sidecar.neutral.events import Event
from sidecar.neutral.problem import RequestRefused
from sidecar.neutral.request import ChatRequest
from sidecar.wire import json
from sidecar.wire.contract import Dialect, Operation
from tests.laws.spoken import SPOKEN, context, frames_of, heard

ROOT = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Case:
    """One folder of traffic."""

    dialect: Dialect
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.dialect.name}: {self.folder.name}"

    def raw(self, file: str) -> bytes | None:
        """What a file holds, if it is there."""
        path = self.folder / file
        return path.read_bytes() if path.exists() else None

    def body(self, file: str) -> Any:
        """The JSON of a file, if it is there."""
        text = self.raw(file)
        return None if text is None else json.loads(text)

    @property
    def operation(self) -> Operation:
        """A request with a prompt in place of messages asks for a completion."""
        body = self.body("request.json")
        is_prompted = isinstance(body, dict) and "prompt" in body and "messages" not in body
        return Operation.COMPLETION if is_prompted else Operation.CHAT

    def request(self) -> ChatRequest | None:
        """The request in the neutral form. Raises RequestRefused."""
        body = self.body("request.json")
        return None if body is None else self.dialect.decode_request(self.operation, body)

    def frames(self) -> list[bytes]:
        """The frames of the stream."""
        return frames_of(self.dialect, self.raw("stream.raw") or b"")

    def events(self) -> list[Event]:
        """What the stream says."""
        return heard(self.dialect, self.frames(), self.request())


def cases() -> Iterator[Case]:
    """Every case of every dialect."""
    for dialect in SPOKEN:
        for folder in sorted((ROOT / dialect.name).glob("*/")):
            yield Case(dialect, folder)


def expectations(case: Case) -> Mapping[str, object]:
    """The files that stand beside the traffic of a case, and what they hold."""
    found: dict[str, object] = {}
    if case.raw("request.json") is not None:
        try:
            found["neutral.json"] = spelled(case.request())
        except RequestRefused as refusal:
            found["neutral.json"] = {"refused": spelled(refusal.problem)}
    if (response := case.body("response.json")) is not None:
        problem = case.dialect.judge(Operation.CHAT, response)
        known = context(case.request())
        found["answer.json"] = (
            {"failed": spelled(problem)}
            if problem
            else spelled(case.dialect.decode_response(response, known))
        )
    if case.raw("stream.raw") is not None:
        found["events.json"] = [spelled(event) for event in case.events()]
    if (error := case.body("error.json")) is not None:
        body = error["body"]
        raw = body.encode() if isinstance(body, str) else json.dumps(body)
        found["problem.json"] = spelled(case.dialect.decode_error(error["status"], raw))
    return found


def spelled(value: object) -> object:
    """A neutral value as JSON: its kind, and what is not as it would be unsaid."""
    if is_dataclass(value):
        said = {
            one.name: spelled(getattr(value, one.name))
            for one in fields(value)
            if not _is_default(one, getattr(value, one.name))
        }
        return {"is": type(value).__name__, **said}
    match value:
        case Enum():
            return value.value
        case Mapping():
            return {key: spelled(one) for key, one in value.items()}
        case tuple() | list():
            return [spelled(one) for one in value]
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case _:
            return value


def _is_default(one: Any, value: object) -> bool:
    if one.default_factory is not MISSING:
        return bool(value == one.default_factory())
    return one.default is not MISSING and bool(value == one.default)


def written(expected: object) -> str:
    """An expectation as it stands in its file."""
    return standard.dumps(expected, indent=2, ensure_ascii=False) + "\n"
