"""What a fake backend saw of one request, exactly as it came over the wire."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field


@dataclass(eq=False)
class Seen:
    """One request as the backend received it.

    `at` is monotonic seconds at the end of the request's body. `left` is set when the client goes
    away while it is being answered, `answered` when the whole script for it has been played.
    `sent` counts bytes of the answer that the socket took.
    """

    backend: str
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    at: float
    nth_on_connection: int
    left: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def json(self) -> dict[str, object]:
        """The body as a JSON object; empty when it is not one."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def model(self) -> str:
        return str(self.json.get("model", ""))

    @property
    def streamed(self) -> bool:
        """Whether a stream was asked for; Ollama's API streams unless told not to."""
        return self.json.get("stream", self.path.startswith("/api/")) is True

    @property
    def wants_usage(self) -> bool:
        options = self.json.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    def header(self, name: str) -> str | None:
        """The value of the last header of that name, in any case; None without one."""
        for key, value in reversed(self.headers):
            if key.lower() == name.lower():
                return value
        return None

    @property
    def header_names(self) -> set[str]:
        return {key.lower() for key, _ in self.headers}
