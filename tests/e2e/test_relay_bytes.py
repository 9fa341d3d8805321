"""Same dialect, same bytes: what the client wrote reaches the backend, the answer likewise."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.client import chat
from tests.e2e.harness import QUICK_RETRY, Config, Sidecar, of
from tests.fakes import behaviours as b
from tests.fakes.answers import frame
from tests.fakes.backend import Backend

pytestmark = pytest.mark.asyncio(loop_scope="module")

# route `chat` sends another model name, route `same` the one that was asked
MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'
BODIES = {
    "plain": b'{"model":"%s",' + MESSAGES + b"}",
    "key order": b'{"zeta":1,' + MESSAGES + b',"model":"%s","alpha":{"y":1,"x":2}}',
    "numbers": b'{"model":"%s",' + MESSAGES + b',"a":1e5,"b":1.10,"c":-0.0,"d":1E+2,"e":5e-324}',
    "big integers": b'{"model":"%s",' + MESSAGES + b',"seed":123456789012345678901234567890}',
    "unknown fields": b'{"model":"%s","x_vendor":{"deep":[null,true,{}]},' + MESSAGES + b"}",
    "duplicate keys": b'{"user":"a","model":"%s","user":"b",' + MESSAGES + b"}",
    "lone surrogate": rb'{"model":"%s","messages":[{"role":"user","content":"\ud800 \uDFFF"}]}',
    "escapes": rb'{"model":"%s","messages":[{"role":"user","content":"\u0041\/\ud83d\ude42"}]}',
    "raw unicode": '{"model":"%s","messages":[{"role":"user","content":"é 日本 🙂"}]}'.encode(),
    "white space": b'\n{ "model" :\t"%s" ,\r\n ' + MESSAGES + b" }\n\n",
    "deep names": b'{"metadata":{"model":"inner","stream_options":{}},"model":"%s",'
    + MESSAGES
    + b"}",
    "model in text": rb'{"messages":[{"role":"user","content":"\"model\":\"chat\""}],"model":"%s"}',
    "false stream": b'{"model":"%s","stream":false,' + MESSAGES + b"}",
}


@pytest_asyncio.fixture(loop_scope="module")
async def backend() -> AsyncIterator[Backend]:
    async with Backend("p") as fake:
        yield fake


def config(backend: Backend, **quirks: object) -> Config:
    more: Config = {"quirks": quirks} if quirks else {}
    return {
        "backends": {"p": of(backend, **more)},
        "routes": {
            "chat": {
                "models": ["chat"],
                "targets": [{"backend": "p", "model": "a/longer:name"}],
                "retry": QUICK_RETRY,
            },
            "same": {"models": ["same"], "relay": True, "targets": [{"backend": "p"}]},
        },
    }


@pytest_asyncio.fixture(loop_scope="module")
async def sidecar(backend: Backend, shared: Sidecar) -> AsyncIterator[Sidecar]:
    async with shared.playing(config(backend)):
        yield shared


async def test_only_the_models_name_is_spliced(sidecar: Sidecar, backend: Backend) -> None:
    for name, template in BODIES.items():
        for asked, sent in [(b"chat", b"a/longer:name"), (b"same", b"same")]:
            got = await sidecar.ask(data=template.replace(b"%s", asked))
            assert got.status == 200, (name, got.raw)
            assert backend.bodies[-1] == template.replace(b"%s", sent), name


async def test_an_escaped_model_name_is_the_same_name(sidecar: Sidecar, backend: Backend) -> None:
    got = await sidecar.ask(data=rb'{"mod\u0065l":"ch\u0061t",' + MESSAGES + b"}")
    assert got.status == 200, got.raw
    assert backend.requests[0].model == "a/longer:name"


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ("", {"include_usage": True}),
        (',"stream_options":{"include_usage":false}', {"include_usage": True}),
        (',"stream_options":{}', {"include_usage": True}),
        (',"stream_options":null', {"include_usage": True}),
        (',"stream_options":{"x":1e5}', {"x": 1e5, "include_usage": True}),
        (',"stream_options":{"include_usage":true}', {"include_usage": True}),
    ],
)
async def test_usage_is_asked_for_in_streams(
    sidecar: Sidecar, backend: Backend, written: str, options: dict[str, object]
) -> None:
    rest = b',"z":1.10,"seed":123456789012345678901234567890'
    body = b'{"model":"same","stream":true,' + MESSAGES + written.encode() + rest + b"}"
    got = await sidecar.ask(data=body)
    assert got.done
    sent = backend.bodies[0]
    assert json.loads(sent)["stream_options"] == options
    assert rest in sent
    if "true" in written:
        assert sent == body, "nothing needed to change"
        assert got.usage is not None
    else:
        assert got.usage is None, "the client did not ask"
        assert len(got.events) == 62, "greeting, sixty tokens, finish"


@pytest.mark.parametrize("quirk", ["never", "always"])
async def test_usage_is_not_asked_of_backends_that_cannot(
    backend: Backend, shared: Sidecar, quirk: str
) -> None:
    backend.rest = b.well(usage="always" if quirk == "always" else "never")
    async with shared.playing(config(backend, usage_in_stream=quirk)) as sidecar:
        body = b'{"model":"same","stream":true,' + MESSAGES + b"}"
        got = await sidecar.ask(data=body)
    assert backend.bodies == [body]
    assert got.done
    assert got.usage is None, "the client did not ask"


async def test_whole_answers_come_back_as_they_were_written(
    sidecar: Sidecar, backend: Backend
) -> None:
    odd = (
        rb'{ "id":"1", "object":"chat.completion", "created":1e3, "x":1.10, "x":2, "model":"m",'
        b'\n "choices":[{"index":0,"message":{"role":"assistant","content":"\\ud800"},'
        b'"finish_reason":"stop"}], "usage":{"prompt_tokens":1,"completion_tokens":1,'
        b'"total_tokens":2,"secret_sauce":12345678901234567890123} }\n'
    )
    backend.rest = lambda seen: b.whole(200, odd)
    got = await sidecar.ask(chat())
    assert got.raw == odd


async def test_streams_come_back_as_they_were_written(sidecar: Sidecar, backend: Backend) -> None:
    def raw(content: bytes, finish: bytes = b"null") -> bytes:
        delta = b'{"index":0,"delta":{"content":' + content + b'},"finish_reason":' + finish + b"}"
        return b'data:{"id":"1","n":1.10,"choices":[' + delta + b"]}\n\n"

    frames = [
        b": a comment of the backend\n\n",
        raw(b'"one "'),
        b"event: message\nid: 7\n" + raw(rb'"\ud83d\ude42 "'),
        raw('"日本"'.encode()),
        raw(b'""', b'"stop"'),
        b"data: [DONE]\n\n",
    ]
    backend.rest = b.frames_only(*frames)
    got = await sidecar.ask(chat(stream=True))
    assert got.raw.endswith(b"".join(frames[1:]))


async def test_a_usage_object_in_other_frames_stays(sidecar: Sidecar, backend: Backend) -> None:
    """Only the frame that carries nothing else is taken out."""
    choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}
    mixed = frame({"id": "1", "choices": [choice], "usage": {"total_tokens": 3}})
    backend.rest = b.frames_only(mixed, b"data: [DONE]\n\n")
    got = await sidecar.ask(chat(stream=True))
    assert got.raw == mixed + b"data: [DONE]\n\n"


@pytest.mark.parametrize("code", [400, 422, 500])
async def test_an_error_of_the_backend_is_passed_on_with_the_tries_beside_it(
    sidecar: Sidecar, backend: Backend, code: int
) -> None:
    start, end = (
        b'{ "error": {"message":"no", "type":"t", "param":"p", "code":"c", "n":1.10',
        b"} }",
    )
    backend.rest = lambda seen: b.whole(code, start + end)
    got = await sidecar.ask(chat())
    assert got.status == code
    assert got.raw.startswith(start + b',"sidecar":{') and got.raw.endswith(b"}" + end)
    assert got.error is not None and set(got.error) == {
        "message", "type", "param", "code", "n", "sidecar",
    }  # fmt: skip


async def test_any_other_path_is_plain_relay(sidecar: Sidecar, backend: Backend) -> None:
    data = bytes(range(256)) * 40
    told = {"content-type": "application/octet-stream"}
    got = await sidecar.ask(path="/v1/files?purpose=a%20b&x=1", data=data, headers=told)
    assert got.status == 200, got.raw
    seen = backend.requests[0]
    assert (seen.method, seen.target) == ("POST", "/v1/files?purpose=a%20b&x=1")
    assert (seen.body, seen.header("content-type")) == (data, "application/octet-stream")

    got = await sidecar.get("/v1/files/file-1/content")
    assert (got.status, got.json["relayed"]) == (200, "/v1/files/file-1/content")
