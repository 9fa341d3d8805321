"""What the clients of a listener are told: of a problem, and in the headers of an answer."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from urllib.parse import urlsplit

from sidecar.config.snapshot import Snapshot
from sidecar.dataplane import tries
from sidecar.neutral.problem import Problem
from sidecar.policy.discretion import discreet, veiled
from sidecar.telemetry.recorder import RequestNote

_TOLD = re.compile(
    r"content-type|x-request-id|server|retry-after|x-should-retry|allow|www-authenticate"
    r"|cache-control|x-accel-buffering|vary|access-control-.*"
)
HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Manner:
    """How one answer is given: which of its headers may go out, and how a stream flows.

    With `as_events` its lines of JSON are sent as server-sent events.
    """

    headers: Callable[[Mapping[str, str]], dict[str, str]] = dict
    flow: str = "no-cache"  # cache-control of what flows
    as_events: bool = False


class Telling:
    """To clients of this machine: everything, without keys."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self.redact = redact

    def may_tell(self, problem: Problem, note: RequestNote) -> Problem:
        """What of a problem may be told."""
        return problem

    def extension(self, problem: Problem, told: str, note: RequestNote) -> dict[str, object]:
        """What machines are told beside the message, which has the words `told`."""
        extension: dict[str, object] = {"request_id": note.id}
        if note.attempts:
            extension["attempts"] = tries.listed(note.attempts, told, self.redact)
        if problem.advice:
            extension["advice"] = self.redact(problem.advice)
        if problem.overflow is not None:
            numbers = asdict(problem.overflow).items()
            extension["context"] = {name: count for name, count in numbers if count is not None}
        return extension

    def in_words(self, problem: Problem, note: RequestNote) -> Problem:
        """What may be told: what failed, what to do next, and more for machines."""
        message = self.redact(problem.message)
        if problem.advice:
            stop = "" if message.endswith((".", "!", "?")) else "."
            message = f"{message}{stop} {self.redact(problem.advice)}"
        extension = self.extension(problem, problem.message, note)
        return replace(problem, message=message, extension=extension)


@dataclass(slots=True)
class _Hidden:
    """What must not be repeated of a backend's words, and what stands in its place."""

    words: dict[str, str] = field(default_factory=dict)

    def add(self, word: str | None, instead: str = HIDDEN) -> None:
        if word:
            self.words.setdefault(word, instead)


class Discreet(Telling):
    """To strangers: what they can mend, and nothing that tells how this place is built."""

    def __init__(
        self, redact: Callable[[str], str], current: Callable[[], Snapshot | None]
    ) -> None:
        super().__init__(redact)
        self._current = current

    def may_tell(self, problem: Problem, note: RequestNote) -> Problem:
        """What of a problem may be told."""
        return discreet(problem, bool(note.attempts), self._said(problem, note), note.asked_model)

    def extension(self, problem: Problem, told: str, note: RequestNote) -> dict[str, object]:
        """The id by which the owner finds the request."""
        return {"request_id": note.id}

    def _said(self, problem: Problem, note: RequestNote) -> str:
        """The latest of a backend's words for this kind of problem, without what is private."""
        snapshot, hidden = self._current(), _Hidden()
        said = ""
        for one in note.attempts:
            if one.problem is not None and one.problem.kind is problem.kind:
                said = one.problem.message
            backend = snapshot.backends.get(one.backend) if snapshot is not None else None
            address = urlsplit(backend.base_url) if backend is not None else None
            if one.model != note.asked_model:
                hidden.add(one.model, note.asked_model or HIDDEN)
            hidden.add(one.backend)
            if backend is not None and address is not None:
                hidden.add(backend.base_url)
                hidden.add(address.netloc)
                hidden.add(address.hostname)
        return veiled(said, hidden.words, HIDDEN)


def for_strangers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an answer that tell nothing of who gave it, nor how."""
    told = {name.lower(): value for name, value in headers.items()}
    kept = {name: value for name, value in told.items() if _TOLD.fullmatch(name)}
    kept.setdefault("cache-control", "no-store")
    return kept
