"""Signed thinking goes back to its issuer through a client of any dialect, and to nobody else."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from sidecar.neutral.request import ChatRequest, Message, Role, Text, Thinking
from sidecar.neutral.response import ChatResponse, StopReason
from sidecar.wire import json
from sidecar.wire.contract import Dialect, Operation, RequestPatch
from sidecar.wire.fold import unfolded
from sidecar.wire.signature import MARK
from tests.laws.spoken import EVERY, SPOKEN, as_sent, asked, context, frames_of, target, told
from tests.laws.strategies import as_issued

SIGNATURE = "EqQBCgIYAhIM1gbcDa9GJwZA2b3h"
ISSUERS = ("anthropic", "openai-responses")  # the others' thinking is not signed

Body = dict[str, Any]


def _items(told: Any) -> list[Any]:
    return [{"role": "user", "content": told}] if isinstance(told, str) else told


# how a client of each dialect sends an answer back, as its official client does
ECHOES: Mapping[str, Callable[[Body, Body], Body]] = {
    "openai": lambda body, answer: {
        **body,
        "messages": [*body["messages"], answer["choices"][0]["message"]],
    },
    "anthropic": lambda body, answer: {
        **body,
        "messages": [*body["messages"], {"role": "assistant", "content": answer["content"]}],
    },
    "ollama": lambda body, answer: {**body, "messages": [*body["messages"], answer["message"]]},
    "openai-responses": lambda body, answer: {
        **body,
        "input": [*_items(body["input"]), *answer["output"]],
    },
    "toy": lambda body, answer: {
        **body,
        "turns": [*body["turns"], {"by": "model", "say": answer["say"]}],
    },
}
HOLDS_SIGNATURES = {"openai", "anthropic", "openai-responses", "toy"}
STARTS = ChatRequest((Message(Role.SYSTEM, (Text("Be kind."),)), Message(Role.USER, (Text("Hi"),))))
GOES_ON = Message(Role.USER, (Text("Go on"),))


def sent_back(client: Dialect, thinking: Thinking, *, is_streamed: bool) -> Body:
    """The request of a client that keeps an answer with this thinking in its history."""
    answer = ChatResponse((thinking, Text("Hello")), StopReason.END, id="x", model="m")
    if is_streamed:
        frames = frames_of(client, told(client, list(unfolded(answer))))
        written = as_sent(client.fold(frames))
    else:
        written = as_sent(client.encode_response(answer, context()))
    body: Body = dict(asked(client, STARTS))
    return ECHOES[client.name](body, written)


def read(client: Dialect, body: Body) -> ChatRequest:
    """That request, and the user's next words."""
    request = client.decode_request(Operation.CHAT, as_sent(body))
    return replace(request, messages=(*request.messages, GOES_ON))


def sent(backend: Dialect, request: ChatRequest) -> bytes:
    return json.dumps(backend.encode_request(request, target(backend)).body)


HOLDING = [dialect for dialect in SPOKEN if dialect.name in HOLDS_SIGNATURES]
NAMED = {dialect.name: dialect for dialect in SPOKEN}
THOUGHTS = pytest.mark.parametrize("text", ["Hm, so it is.", ""], ids=["told", "redacted"])
MODES = pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])


@MODES
@THOUGHTS
@pytest.mark.parametrize("issuer", ISSUERS)
@pytest.mark.parametrize("client", HOLDING, ids=lambda client: client.name)
def test_a_signature_comes_back_to_its_issuer_and_to_nobody_else(
    client: Dialect, issuer: str, text: str, is_streamed: bool
) -> None:
    signature = as_issued(SIGNATURE, issuer)
    thinking = Thinking(text, signature, issuer, redacted=not text)
    request = read(client, sent_back(client, thinking, is_streamed=is_streamed))
    (kept,) = [p for turn in request.messages for p in turn.parts if isinstance(p, Thinking)]
    assert (kept.text, kept.signature, kept.signed_by) == (text, signature, issuer)
    for backend in SPOKEN:
        body = sent(backend, request)
        assert MARK.encode() not in body
        assert (SIGNATURE.encode() in body) is (backend.name == issuer)
        assert backend.name != issuer or text.encode() in body


@MODES
@EVERY
def test_thinking_of_nobody_is_shown_to_no_backend_as_signed(
    dialect: Dialect, is_streamed: bool
) -> None:
    request = read(dialect, sent_back(dialect, Thinking("Hm."), is_streamed=is_streamed))
    for backend in SPOKEN:
        assert MARK.encode() not in sent(backend, request)


@pytest.mark.parametrize("name", ISSUERS)
@MODES
@THOUGHTS
def test_a_relayed_request_loses_what_its_vendor_did_not_sign(
    name: str, text: str, is_streamed: bool
) -> None:
    """A backend of another dialect answered first; then one of the client's own is asked."""
    client = NAMED[name]
    thinking = Thinking(text, SIGNATURE, "toy", redacted=not text)
    body = sent_back(client, thinking, is_streamed=is_streamed)
    raw = json.dumps(body)
    assert MARK.encode() in raw
    patched = client.patch(raw, RequestPatch())
    assert MARK.encode() not in patched
    before = client.decode_request(Operation.CHAT, body)
    after = client.decode_request(Operation.CHAT, json.loads(patched))
    assert [without_thinking(turn) for turn in before.messages] == list(after.messages)


def without_thinking(turn: Message) -> Message:
    return replace(turn, parts=tuple(p for p in turn.parts if not isinstance(p, Thinking)))


@pytest.mark.parametrize("name", ISSUERS)
@THOUGHTS
def test_a_relayed_request_keeps_what_its_vendor_signed(name: str, text: str) -> None:
    client = NAMED[name]
    thinking = Thinking(text, as_issued(SIGNATURE, name), name, redacted=not text)
    raw = json.dumps(sent_back(client, thinking, is_streamed=False))
    assert SIGNATURE.encode() in raw
    assert client.patch(raw, RequestPatch()) is raw
