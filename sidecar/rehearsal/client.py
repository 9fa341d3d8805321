"""A client that reads an answer to its end, whatever comes, and tells what it has heard."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from sidecar.neutral.problem import Problem
from sidecar.neutral.request import ChatRequest, Message, Role, Text
from sidecar.neutral.usage import Usage
from sidecar.rehearsal.clockwork import Address
from sidecar.rehearsal.voice import Asked, Voice
from sidecar.wire import json
from sidecar.wire.contract import Dialect, Operation, Reading, Target

PATIENCE = 24 * 3600.0  # seconds; who has answered nothing by then never will
KEY = "rehearsal"


@dataclass(frozen=True, slots=True)
class Question:
    """One request of a client."""

    dialect: Dialect
    model: str | None
    stream: bool
    leave_after: float | None = None  # seconds after which the client goes away

    def wire(self) -> bytes:
        """The request in HTTP."""
        asked = ChatRequest(
            (Message(Role.USER, (Text("Count to sixty."),)),), self.model, max_tokens=256
        )
        body = json.dumps(self.dialect.encode_request(asked, Target(self.model, self.stream)).body)
        paths = self.dialect.endpoints.items()
        path = next(path for path, operation in paths if operation is Operation.CHAT)
        bearer = self.dialect.key_header == "authorization"
        headers = {
            **self.dialect.backend_headers,
            "host": "127.0.0.1",
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            self.dialect.key_header: f"Bearer {KEY}" if bearer else KEY,
        }
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {told}" for name, told in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(slots=True)
class Heard:
    """What a client got. Times are in the rehearsal's seconds."""

    status: int | None = None  # None: no head came
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b""
    is_ended: bool = False  # HTTP says that nothing is missing
    is_hung: bool = False
    took: float = 0.0


@dataclass(frozen=True, slots=True)
class Understood:
    """What an answer means to a client of its dialect."""

    text: str = ""
    looks_whole: bool = False
    error: Problem | None = None  # as told, by status or in-band
    model: str | None = None
    usage: Usage | None = None


async def ask(address: Address, question: Question, now: Callable[[], float]) -> Heard:
    """Ask, and listen to the end."""
    heard, began = Heard(), now()
    raw = bytearray()
    reader, writer = await asyncio.open_connection(*address)
    patience = PATIENCE if question.leave_after is None else question.leave_after
    try:
        async with asyncio.timeout(patience):
            writer.write(question.wire())
            with suppress(ConnectionError):
                while more := await reader.read(65536):
                    raw += more
    except TimeoutError:
        heard.is_hung = question.leave_after is None
    finally:
        writer.transport.abort()
    heard.took = round(now() - began, 6)  # sums of fractions are not what they seem
    _take_apart(bytes(raw), heard)
    return heard


def _take_apart(raw: bytes, heard: Heard) -> None:
    """Status, headers and body of an answer on a connection that ends with it."""
    head, mark, rest = raw.partition(b"\r\n\r\n")
    if not mark:
        return
    first, *lines = head.decode("latin-1").split("\r\n")
    heard.status = int(first.split(" ")[1])
    pairs = (line.partition(":") for line in lines)
    heard.headers = {name.lower(): value.strip() for name, _, value in pairs}
    if heard.headers.get("transfer-encoding", "").lower() == "chunked":
        heard.body, heard.is_ended = _unchunked(rest)
    else:
        heard.body = rest
        heard.is_ended = len(rest) == int(heard.headers.get("content-length", -1))


def _unchunked(rest: bytes) -> tuple[bytes, bool]:
    """The body, and whether its last chunk came."""
    body = bytearray()
    while True:
        size, mark, rest = rest.partition(b"\r\n")
        if not mark:
            return bytes(body), False
        length = int(size, 16)
        if length == 0:
            return bytes(body), True
        body += rest[:length]
        if len(rest) < length + 2:
            return bytes(body), False
        rest = rest[length + 2 :]


def understand(heard: Heard, question: Question) -> Understood:
    """What the answer says, read as the clients of its dialect read it."""
    dialect = question.dialect
    if heard.status is None:
        return Understood()
    if heard.status != 200:
        return Understood(error=dialect.decode_error(heard.status, heard.body))
    voice = Voice(dialect, "", 0)
    body = json.loads_object(question.wire().partition(b"\r\n\r\n")[2]) or {}
    asked = Asked(0.0, "POST", "", body, 0, 0)
    if question.stream:
        return _streamed(heard, dialect, voice, asked)
    told = json.loads_object(heard.body)
    if told is None:
        return Understood()
    if problem := dialect.judge(Operation.CHAT, told):
        return Understood(error=problem)
    answer = voice.read(asked, told)
    text = "".join(part.text for part in answer.parts if isinstance(part, Text))
    return Understood(text, heard.is_ended, None, answer.model, answer.usage)


def _streamed(heard: Heard, dialect: Dialect, voice: Voice, asked: Asked) -> Understood:
    framer = dialect.framing.framer()
    frames = framer.feed(heard.body)
    tap = dialect.tap(voice.facts(asked))
    readings = [tap.read(frame)[0] for frame in frames]
    text = voice.text_of(asked, frames)
    failed = Reading.FAILURE in readings
    ended = tap.finished or Reading.DONE in readings
    return Understood(
        text,
        heard.is_ended and ended,
        tap.problem if failed else None,
        tap.model,
        tap.usage,
    )
