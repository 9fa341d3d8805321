"""The built-in echo: a backend without a network, so that the first request of a newcomer works.

It says of every answer that it is the echo; it has no embeddings to give.
"""

from collections.abc import Mapping

from sidecar.dataplane.upstream import RawReply, UpstreamCall
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.runtime.store import BackendKey
from sidecar.wire import json
from sidecar.wire.framing import sse

NOTICE = "[llm-sidecar echo: no model answered this]"
MODEL = "echo"


class _EchoReply:
    status = 200

    def __init__(self, kind: str, pieces: list[bytes]) -> None:
        self.headers: Mapping[str, str] = {"content-type": kind}
        self._pieces = pieces

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def limit_gap(self, seconds: float) -> None:
        """An echo is never silent."""

    async def settle(self) -> None:
        """An echo ends with its answer."""

    async def aclose(self) -> None:
        """Nothing is held."""


class EchoUpstream:
    """Answers chat and completions with what was asked."""

    def __init__(self, now: float) -> None:
        self._created = int(now)  # seconds since the epoch

    async def send(self, call: UpstreamCall) -> RawReply:
        """The echo of a request. Raises AttemptFailed for what cannot be echoed."""
        asked = json.loads(call.body) if isinstance(call.body, bytes) else {}
        address = call.url.partition("?")[0]
        is_chat = address.endswith("/chat/completions")
        if not is_chat and not address.endswith("/completions"):
            raise AttemptFailed(
                Problem(
                    ProblemKind.BAD_REQUEST,
                    "is the built-in echo and answers chat and completions only; configure a "
                    "backend",
                    status=501,
                    code="echo_only",
                )
            )
        text = f"{NOTICE} You said: {_said(asked)}"
        kind = "chat.completion" if is_chat else "text_completion"
        head = {"id": "echo-1", "object": kind, "created": self._created, "model": MODEL}
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        if not asked.get("stream"):
            said: Mapping[str, object] = (
                {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
            )
            choice = {"index": 0, **said, "finish_reason": "stop"}
            whole = {**head, "choices": [choice], "usage": usage}
            return _EchoReply("application/json", [json.dumps(whole)])
        if is_chat:
            head["object"] = "chat.completion.chunk"
        return _EchoReply("text/event-stream", _stream(head, text, usage, is_chat=is_chat))

    async def forget(self, backend: BackendKey) -> None:
        """Nothing is held open."""


def _stream(
    head: Mapping[str, object], text: str, usage: Mapping[str, int], *, is_chat: bool
) -> list[bytes]:
    def chunk(said: str, reason: str | None) -> bytes:
        part: Mapping[str, object] = (
            {"delta": {"role": "assistant", "content": said} if said else {}}
            if is_chat
            else {"text": said}
        )
        choice = {"index": 0, **part, "finish_reason": reason}
        return sse(json.dumps({**head, "choices": [choice]}))

    words = text.split(" ")
    pieces = [chunk(word if not place else f" {word}", None) for place, word in enumerate(words)]
    end = sse(json.dumps({**head, "choices": [], "usage": usage}))
    return [*pieces, chunk("", "stop"), end, sse(b"[DONE]")]


def _said(asked: Mapping[str, object]) -> str:
    """The last thing that the client said, as text."""
    prompt = asked.get("prompt")
    if isinstance(prompt, str):
        return prompt
    messages = asked.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else {}
    content = last.get("content") if isinstance(last, dict) else None
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return " ".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""
