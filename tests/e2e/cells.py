"""The shape of the table of faults: what a cell says, and what a client may have got."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.e2e.client import Got
from tests.fakes.answers import text_of
from tests.fakes.behaviours import Behaviour, well

Want = Callable[[Got], None]


@dataclass(frozen=True)
class Cell:
    """One fault of the primary, and what must come of it.

    `row` is the row of docs/faults.md. A script's last behaviour goes on for ever. `fallback` is
    None where the primary is alone. `place` overrides the primary's backend configuration with
    what `Places` holds under that name. `tries` and `fallback_tries` count requests seen; `settled`
    is an outcome of attempts_total that the primary must have, `result` one of requests_total.
    """

    row: int
    name: str
    primary: tuple[Behaviour, ...]
    want: Want
    tries: int | None = 1
    fallback: tuple[Behaviour, ...] | None = (well(),)
    fallback_tries: int | None = None
    streamed: tuple[bool, ...] = (True, False)
    settled: str | None = None
    result: str = "ok"
    place: str | None = None
    primary_config: Mapping[str, object] = field(default_factory=dict)
    fallback_config: Mapping[str, object] = field(default_factory=dict)
    route: Mapping[str, object] = field(default_factory=dict)
    at_least: float | None = None  # seconds between the primary's first and second request
    within: float | None = None  # seconds that the answer may take at most

    def key(self, streamed: bool) -> str:
        """The name of this cell's route; its backends are called after it."""
        return f"r{self.row:02}-{self.name}-{'stream' if streamed else 'whole'}"


STREAM, WHOLE = (True,), (False,)


def answered(by: str, text: str | None = None, *, done: bool = True) -> Want:
    """The whole answer of that backend, and nothing that hints at trouble."""

    def check(got: Got) -> None:
        assert got.status == 200, got.raw[:2000]
        assert got.error is None
        assert got.broken is None
        assert got.text == (text_of(by) if text is None else text)
        assert got.finish == "stop"
        assert got.models == {f"model-{by}"}
        assert got.headers["x-sidecar-backend"].endswith(f"-{by}")
        if got.is_stream and done:
            assert got.done

    return check


def broken_off(after: int = 40) -> Want:
    """An honest error event after so many tokens; nothing that looks like an end."""

    def check(got: Got) -> None:
        assert got.status == 200
        # a reset may take with it what the client's kernel had not handed over yet
        assert got.text
        assert text_of("p", after).startswith(got.text)
        assert got.error is not None
        assert got.message
        assert "error" in got.events[-1]
        assert got.finish is None
        assert not got.done

    return check


def refused(
    *statuses: int, code: str | None = None, says: tuple[str, ...] = (), header: str | None = None
) -> Want:
    """An error in the dialect's shape, before any content."""

    def check(got: Got) -> None:
        assert got.status in statuses, got.raw[:2000]
        assert not got.is_stream
        assert set(got.error or {}) >= {"message", "type", "param", "code"}
        if code is not None:
            assert got.code == code
        for word in says:
            assert word.lower() in got.message.lower()
        if header is not None:
            assert header in got.headers

    return check
