"""What clients with a key get on the public listener, and what they are not told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import anthropic
import ollama
import openai
import pytest
import pytest_asyncio

from tests.e2e.client import HANG, Got, chat
from tests.e2e.crossing import ANTHROPIC, DIALECTS, OLLAMA, OPENAI, PATHS
from tests.e2e.crossing import chat as chat_of
from tests.e2e.harness import Config, until
from tests.e2e.strangers import (
    HIDDEN,
    LAPTOP,
    MODEL,
    NAME,
    NO_LIMITS,
    OWN_KEY,
    PHONE,
    ROUTE,
    Public,
    canaries,
    everything,
    offered,
)
from tests.fakes import behaviours as b
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend
from tests.fakes.seen import Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

EARLY: Config = {"keepalive": "50ms", "commit_after": "100ms", "early_head": True}
FREE: Config = {"requests": "none", "bytes": "none", "streams": "none"}
MANY = {name: f"sk-sidecar-of-{name}-0123456789" for name in "abcdefgh"}
A = MANY["a"]
PAGE = "https://chat.example"
VISITOR = "203.0.113.7"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend() -> AsyncIterator[Backend]:
    async with Backend("p", models=(MODEL, HIDDEN)) as fake:
        yield fake


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(
    backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Public]:
    folder = tmp_path_factory.mktemp("public")
    async with Public(folder, offered(backend), {"origins": [PAGE]}) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def quick(
    backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Public]:
    """One whose clients wait for nothing in silence, and who may use what `allow` says."""
    folder = tmp_path_factory.mktemp("quick")
    async with Public(folder, offered(backend), EARLY, keys=MANY) as running:
        yield running


async def allow(sidecar: Public, limits: Config) -> None:
    """Change the limits; what was used before is remembered."""
    sidecar.public = {**EARLY, "limits": limits}
    await sidecar.reload(sidecar.config or {})


@pytest.fixture(autouse=True)
def fresh(backend: Backend) -> None:
    backend.requests.clear()
    backend.rest = b.well()


def nothing_told(got: Got, *fakes: Backend) -> None:
    """Neither who answered nor how, in any byte."""
    told = everything(got)
    assert [one for one in canaries(*fakes) if one in told] == []
    assert [name for name in got.headers if name.lower().startswith("x-sidecar")] == []
    assert "attempts" not in told


# --- official clients --------------------------------------------------------------------------


async def test_the_client_of_openai(sidecar: Public) -> None:
    async with openai.AsyncOpenAI(base_url=f"{sidecar.public_url}/v1", api_key=LAPTOP) as client:
        whole = await client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "hi"}]
        )
        assert whole.choices[0].message.content == text_of("p")
        stream = await client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        said = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(said) == text_of("p")
        told = await client.responses.create(model="chat", input="hi")
        assert told.output_text == text_of("p")
        assert [one.id async for one in client.models.list()] == ["chat"]
        assert (await client.models.retrieve("chat")).id == "chat"


async def test_the_client_of_anthropic(sidecar: Public) -> None:
    async with anthropic.AsyncAnthropic(base_url=sidecar.public_url, api_key=LAPTOP) as client:
        message = await client.messages.create(
            model="chat", max_tokens=100, messages=[{"role": "user", "content": "hi"}]
        )
        assert [part.text for part in message.content if part.type == "text"] == [text_of("p")]
        counted = await client.messages.count_tokens(
            model="chat", messages=[{"role": "user", "content": "hi"}]
        )
        assert counted.input_tokens > 0


async def test_the_client_of_ollama(sidecar: Public) -> None:
    async with ollama.AsyncClient(
        sidecar.public_url, headers={"Authorization": f"Bearer {LAPTOP}"}
    ) as client:
        said = ""
        asked = [{"role": "user", "content": "hi"}]
        async for part in await client.chat("chat", asked, stream=True):
            said += part.message.content or ""
        assert said == text_of("p")
        assert [one.model for one in (await client.list()).models] == ["chat:latest"]
        assert (await client.show("chat")).details is not None


# --- what is on offer --------------------------------------------------------------------------


async def test_pages_name_what_is_public_and_nothing_else(
    sidecar: Public, backend: Backend
) -> None:
    for page in (
        await sidecar.look("/v1/models"),
        await sidecar.look("/v1/models", anthropic_version="2023-06-01"),
        await sidecar.look("/api/tags"),
    ):
        assert page.status == 200
        assert '"chat' in page.raw.decode()
        assert "hidden" not in page.raw.decode()
        nothing_told(page, backend)
    assert (await sidecar.look("/v1/models/chat")).status == 200
    assert (await sidecar.visit({"model": "chat"}, "/api/show")).status == 200
    assert (await sidecar.look("/api/version")).status == 200


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_is_not_public_is_as_unknown_as_what_is_not_there(
    sidecar: Public, backend: Backend, dialect: str
) -> None:
    seen = []
    for model in ("hidden", "nobodys", f"{NAME}/{HIDDEN}", f"{NAME}/chat", HIDDEN, MODEL):
        got = await sidecar.visit({**chat_of(dialect), "model": model}, PATHS[dialect])
        assert got.status == 404
        told = got.raw.decode().replace(got.headers["x-request-id"], "ID")
        seen.append(told.replace(model, "MODEL"))
    assert len(set(seen)) == 1
    assert not backend.requests


async def test_no_other_door_leads_to_what_is_not_public(sidecar: Public, backend: Backend) -> None:
    assert (await sidecar.look("/v1/models/hidden")).status == 404
    assert (await sidecar.visit({"model": "hidden"}, "/api/show")).status == 404
    count = {"model": "hidden", "messages": [{"role": "user", "content": "hi"}]}
    unknown = await sidecar.visit(count | {"model": "nobodys"}, "/v1/messages/count_tokens")
    hidden = await sidecar.visit(count, "/v1/messages/count_tokens")
    assert (unknown.status, unknown.raw) == (hidden.status, hidden.raw), "an estimate for both"
    nothing = await sidecar.visit({"messages": [{"role": "user", "content": "hi"}]})
    assert (nothing.status, nothing.code) == (400, "missing_model")
    assert "'chat'" in nothing.message and "hidden" not in nothing.message
    assert not backend.requests


async def test_nobody_is_steered(sidecar: Public, backend: Backend) -> None:
    for forced in (NAME, "nobodys"):
        headers = {"x-sidecar-backend": forced, "x-sidecar-route": "private"}
        got = await sidecar.visit(chat(), headers=headers)
        assert (got.status, got.text) == (200, text_of("p"))
        nothing_told_of_a_good_answer(got)
    assert [seen.model for seen in backend.requests] == [MODEL, MODEL]


def nothing_told_of_a_good_answer(got: Got) -> None:
    """Its headers are ours; the words are the model's own."""
    known = {
        "content-type", "content-length", "date", "server", "x-request-id", "cache-control",
        "x-accel-buffering", "transfer-encoding", "vary", "content-encoding",
    }  # fmt: skip
    assert {name.lower() for name in got.headers} <= known


async def test_a_good_answer_has_no_header_of_who_gave_it(
    sidecar: Public, backend: Backend
) -> None:
    told = [
        ("x-request-id", "req-1"), ("openai-organization", "canary-org"), ("server", "canary"),
        ("x-ratelimit-remaining-requests", "3"), ("set-cookie", "a=b"), ("via", "canary"),
    ]  # fmt: skip
    backend.rest = b.well(headers=told)
    for stream in (False, True):
        got = await sidecar.visit(chat(stream=stream))
        assert (got.status, got.text, got.headers["server"]) == (200, text_of("p"), "llm-sidecar")
        nothing_told_of_a_good_answer(got)


# --- what is told of a failure -----------------------------------------------------------------

EVIL = f"{NAME} at http://127.0.0.1:<PORT/v1 has no {MODEL} for {OWN_KEY}"
FAILURES = [
    (b.status(500, EVIL), 500, None),
    (b.status(401, EVIL), 502, None),
    (b.status(403, EVIL), 502, None),
    (b.UNKNOWN_MODEL, 404, None),
    (b.html, 502, None),
    (b.not_json, 502, None),
    (b.hang_up, 503, "5"),
]


def evil(behaviour: b.Behaviour, port: int) -> b.Behaviour:
    """The same, with the backend's own address in its words."""

    def play(seen: Seen) -> b.Steps:
        return tuple(
            b.Send(step.data.replace(b"<PORT", b"%d" % port), step.piece)
            if isinstance(step, b.Send)
            else step
            for step in behaviour(seen)
        )

    return play


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_failure_is_told_without_a_word_of_the_backend(
    sidecar: Public, backend: Backend, dialect: str
) -> None:
    for behaviour, _, after in FAILURES:
        backend.rest = evil(behaviour, backend.port)
        for stream in (False, True):
            body = {**chat_of(dialect), "stream": stream}
            got = await sidecar.visit(body, PATHS[dialect])
            assert got.status >= 400, got.raw
            nothing_told(got, backend)
            assert got.headers.get("retry-after") == after
            line = await sidecar.request_line(got.headers["x-request-id"])
            assert NAME in json.dumps(line), "the owner is told all the same"


async def test_the_status_of_a_failure_stays(sidecar: Public, backend: Backend) -> None:
    for behaviour, status, _ in FAILURES:
        backend.rest = evil(behaviour, backend.port)
        local = await sidecar.ask(chat())
        got = await sidecar.visit(chat())
        assert got.status == local.status == status
        sent = got.error
        assert sent is not None
        assert sent["sidecar"] == {"request_id": got.headers["x-request-id"]}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_fault_of_the_client_is_told_in_the_backends_words(
    sidecar: Public, backend: Backend, dialect: str
) -> None:
    words = f"temperature must be at most 2 for {MODEL}, says {NAME} on 127.0.0.1:<PORT, {OWN_KEY}"
    words += ", told by http://10.9.8.7:8000/engine"
    backend.rest = evil(b.status(400, words, kind="invalid_request_error"), backend.port)
    got = await sidecar.visit(chat_of(dialect), PATHS[dialect])
    assert got.status == 400
    assert "temperature must be at most 2 for chat, says ***" in got.raw.decode()
    assert "10.9.8.7" not in got.raw.decode()
    nothing_told(got, backend)


async def test_an_overlong_request_is_told_with_its_numbers(
    sidecar: Public, backend: Backend
) -> None:
    backend.rest = b.CONTEXT_TOO_LONG
    got = await sidecar.visit(chat())
    assert (got.status, got.code) == (400, "context_length_exceeded")
    assert "Shorten the history" in got.message
    nothing_told(got, backend)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_that_breaks_is_told_in_band_without_a_word_of_the_backend(
    sidecar: Public, backend: Backend, dialect: str
) -> None:
    backend.heard.set()
    body = {**chat_of(dialect), "stream": True}
    for behaviour in (b.cut(b.Reset()), b.cut_by(b.failure())):
        backend.rest = behaviour
        got = await sidecar.visit(body, PATHS[dialect])
        assert got.status == 200
        told = got.raw.decode()
        assert told.count("The answer broke off") + told.count("could not answer") >= 1
        for private in (NAME, ROUTE, f":{backend.port}", "engine died", "broke off its answer"):
            assert private not in told


# --- what backends see -------------------------------------------------------------------------

PRIVATE = {
    "cookie": "CF_Authorization=secret-token; a=b",
    "cf-access-jwt-assertion": "secret-token",
    "cf-access-client-id": "secret-id",
    "cf-access-client-secret": "secret-token",
    "cf-connecting-ip": VISITOR,
    "cf-ray": "8f1",
    "cf-warp-tag-id": "connector",
    "cf-visitor": '{"scheme":"https"}',
    "cdn-loop": "cloudflare; loops=1",
    "x-forwarded-for": VISITOR,
    "x-forwarded-host": "llm.example.com",
    "x-forwarded-proto": "https",
    "forwarded": "for=1.2.3.4",
    "x-real-ip": VISITOR,
    "true-client-ip": VISITOR,
    "x-api-key": LAPTOP,
    "api-key": "secret-token",
    "x_api_key": "secret-token",
    "x-goog-api-key": "secret-token",
    "x-auth-token": "secret-token",
    "proxy-authorization": "Basic secret",
    "x-sidecar-backend": NAME,
    "origin": "https://elsewhere.example",
    "referer": "https://elsewhere.example/page",
    "sec-fetch-site": "cross-site",
    "http-referer": "https://elsewhere.example/page",
    "x-client-ip": VISITOR,
    "x_cluster_client_ip": VISITOR,
    "fastly-client-ip": VISITOR,
    "x-original-forwarded-for": VISITOR,
    "x-original-url": "/api/delete",
    "x-rewrite-url": "/api/delete",
    "x-http-method-override": "DELETE",
    "remote-user": "admin",
    "x-remote-user": "admin",
    "x-authenticated-user": "admin",
    "x-webauth-user": "admin",
    "x-ms-client-principal": "admin",
    "x-amzn-oidc-data": "admin",
    "openai-organization": "another",
    "openai-project": "another",
}


async def test_nothing_of_the_way_nor_of_the_key_reaches_a_backend(
    sidecar: Public, backend: Backend
) -> None:
    for dialect in (OPENAI, ANTHROPIC):  # relayed, and in another dialect
        got = await sidecar.visit(
            chat_of(dialect), PATHS[dialect] + "?key=secret-token&jwt=secret-token", headers=PRIVATE
        )
        assert got.status == 200, got.raw
    for seen in backend.requests:
        assert not seen.header_names & set(PRIVATE) - {"x-api-key"}
        told = json.dumps([seen.headers, seen.target])
        for private in (LAPTOP, "secret-token", VISITOR, "llm.example.com", "elsewhere"):
            assert private not in told
        assert seen.header("authorization") == f"Bearer {OWN_KEY}"
        assert seen.header("host") == f"127.0.0.1:{backend.port}"
        assert seen.header("x-sidecar-via")


async def test_a_clients_key_is_never_forwarded(backend: Backend, tmp_path: Path) -> None:
    config = offered(backend, backend={"auth": {"forward": {"else": {"env": "CANARY_KEY"}}}})
    async with Public(tmp_path, config) as sidecar:
        got = await sidecar.visit(chat(), headers={"api-key": "another"})
        assert got.status == 200
        assert backend.requests[-1].header("authorization") == f"Bearer {OWN_KEY}"
        assert LAPTOP not in json.dumps(backend.requests[-1].headers)
        local = await sidecar.ask(chat(), headers={"authorization": "Bearer mine"})
        assert local.status == 200
        assert backend.requests[-1].header("authorization") == "Bearer mine"


# --- who used what -----------------------------------------------------------------------------


async def test_the_log_and_the_status_tell_who_asked(sidecar: Public) -> None:
    got = await sidecar.visit(chat(stream=True), key=PHONE, headers={"cf-connecting-ip": VISITOR})
    line = await sidecar.request_line(got.headers["x-request-id"])
    assert (line["client"], line["source"]) == ("phone", VISITOR)
    status = (await sidecar.admin("/status")).json
    public = status["public"]
    assert isinstance(public, dict)
    used = {one["name"]: one for one in public["clients"]}
    assert used["phone"]["streams"] == 1
    assert used["phone"]["bytes"] > 20
    assert public["open"] is False
    local = await sidecar.request_line((await sidecar.ask(chat())).headers["x-request-id"])
    assert "client" not in local and "source" not in local
    metrics = (await sidecar.admin("/metrics")).raw.decode()
    assert "phone" not in metrics and "laptop" not in metrics


@pytest.mark.parametrize(
    ("told", "source"),
    [
        ("198.51.100.9", "198.51.100.9"),
        ("2001:db8::7", "2001:db8::7"),
        ("198.51.100.9, 198.51.100.10", "127.0.0.1"),
        ("198.51.100.999", "127.0.0.1"),
        ("fe80::1%eth0", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        (None, "127.0.0.1"),
    ],
)
async def test_a_source_is_one_valid_address(
    sidecar: Public, told: str | None, source: str
) -> None:
    headers = {} if told is None else {"cf-connecting-ip": told, "x-forwarded-for": "192.0.2.1"}
    got = await sidecar.visit(chat(), headers=headers)
    assert (await sidecar.request_line(got.headers["x-request-id"]))["source"] == source


# --- browsers ----------------------------------------------------------------------------------


async def test_a_page_that_may_ask_asks(sidecar: Public) -> None:
    asks = {"origin": PAGE, "access-control-request-method": "POST"}
    preflight = await sidecar.visit(key=None, method="OPTIONS", headers=asks)
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == PAGE
    for path, key, status in (
        ("/v1/chat/completions", LAPTOP, 200),
        ("/v1/chat/completions", None, 401),
        ("/nowhere", LAPTOP, 404),
    ):
        got = await sidecar.visit(chat(), path, key=key, headers={"origin": PAGE})
        assert (got.status, got.headers["access-control-allow-origin"]) == (status, PAGE)


async def test_a_foreign_page_reads_nothing_and_sends_no_form(
    sidecar: Public, backend: Backend
) -> None:
    asks = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    preflight = await sidecar.visit(key=None, method="OPTIONS", headers=asks)
    assert preflight.status == 404
    other = {"origin": PAGE, "access-control-request-method": "DELETE"}
    assert (await sidecar.visit(key=None, method="OPTIONS", headers=other)).status == 404
    other = {"origin": PAGE, "access-control-request-method": "POST"}
    nowhere = await sidecar.visit(path="/api/delete", key=None, method="OPTIONS", headers=other)
    assert nowhere.status == 404
    got = await sidecar.visit(chat(), headers={"origin": "https://evil.example"})
    assert got.status == 200, "the key is what protects"
    assert not [name for name in got.headers if name.lower().startswith("access-control")]
    backend.requests.clear()
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        got = await sidecar.visit(chat(), headers={"content-type": kind})
        assert got.status == 415
    assert not backend.requests


# --- Cloudflare's clock ------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_whole_answer_that_takes_long_begins_with_spaces(
    quick: Public, backend: Backend, dialect: str
) -> None:
    go = asyncio.Event()
    backend.rest = b.gated(go)
    told = {"authorization": f"Bearer {A}", "content-type": "application/json"}
    body = json.dumps({**chat_of(dialect), "stream": False}).encode()
    url = quick.public_url + PATHS[dialect]
    async with asyncio.timeout(HANG), quick.http.post(url, data=body, headers=told) as reply:
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
        assert reply.headers["cache-control"] == "no-cache, no-transform"
        assert reply.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in reply.headers
        assert await reply.content.readexactly(3) == b"   "
        go.set()
        rest = await reply.content.read()
    assert text_of("p") in json.dumps(json.loads(rest))


@pytest.mark.parametrize("play", [b.well(), b.status(500)])
async def test_who_takes_events_gets_a_whole_answer_as_json_all_the_same(
    quick: Public, backend: Backend, play: b.Behaviour
) -> None:
    backend.rest = lambda seen: (b.Pause(0.3), *play(seen))
    wish = {"accept": "text/event-stream, application/json"}
    asked = {**chat_of(OLLAMA), "stream": False}
    got = await quick.visit(asked, PATHS[OLLAMA], key=A, headers=wish)
    assert (got.status, got.headers["content-type"]) == (200, "application/json")
    assert got.raw.startswith(b" ")
    assert {"message", "error"} & set(json.loads(got.raw))


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_behind_an_early_head_a_failure_comes_as_the_body(
    quick: Public, backend: Backend, dialect: str
) -> None:
    backend.rest = lambda seen: (b.Pause(0.5), *b.status(500, EVIL)(seen))
    got = await quick.visit({**chat_of(dialect), "stream": False}, PATHS[dialect], key=A)
    assert got.status == 200
    assert got.raw.startswith(b" ")
    assert "could not answer" in json.dumps(json.loads(got.raw)["error"])
    nothing_told(got, backend)


async def test_in_time_a_whole_answer_keeps_its_status(quick: Public, backend: Backend) -> None:
    backend.rest = b.status(500)
    got = await quick.visit(chat(), key=A)
    assert (got.status, got.raw[:1]) == (500, b"{")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_that_takes_long_begins_with_signs_of_life(
    quick: Public, backend: Backend, dialect: str
) -> None:
    backend.rest = lambda seen: (b.Pause(0.5), *b.well()(seen))
    asked, gzip = {**chat_of(dialect), "stream": True}, {"accept-encoding": "gzip"}
    got = await quick.visit(asked, PATHS[dialect], key=A, headers=gzip)
    assert got.status == 200
    assert got.headers["cache-control"] == "no-cache, no-transform"
    assert got.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in got.headers
    local = await quick.ask(asked, PATHS[dialect])
    assert len(got.raw) > len(local.raw), "signs of life"
    assert "p-59" in got.raw.decode()


@pytest.mark.parametrize("spoken", [OPENAI, OLLAMA])
async def test_lines_go_out_as_events_for_who_asks_for_them(tmp_path: Path, spoken: str) -> None:
    auth: Config = {"auth": None} if spoken == OLLAMA else {}
    async with (
        Backend("p", dialect=spoken) as p,
        Public(tmp_path, offered(p, backend=auth), {**EARLY, "early_head": False}) as sidecar,
    ):
        p.rest = lambda seen: (b.Pause(0.3), *b.well()(seen))
        body = {**chat_of(OLLAMA), "stream": True}
        for accept in ("*/*", "text/event-stream;q=0", "application/json"):
            lines = await sidecar.visit(body, "/api/chat", headers={"accept": accept})
            assert lines.headers["content-type"] == "application/x-ndjson"
        wish = {"accept": "application/x-ndjson, text/event-stream"}
        events = await sidecar.visit(body, "/api/chat", headers=wish)
        assert events.headers["content-type"] == "text/event-stream; charset=utf-8"
        frames = [one for one in events.raw.split(b"\n\n") if one]
        assert all(one.startswith(b"data: {") for one in frames)
        messages = [one["message"] for one in events.events]
        said = [str(one["content"]) for one in messages if isinstance(one, dict)]
        assert (said[0], "".join(said)) == ("", text_of("p")), "behind a sign of life"
        assert events.events[-1]["done"] is True
        p.rest = b.cut(b.Reset())
        broken = await sidecar.visit(body, "/api/chat", headers=wish)
        assert "error" in broken.events[-1]
        local = await sidecar.ask(body, "/api/chat", headers=wish)
        assert local.headers["content-type"] == "application/x-ndjson"


# --- limits ------------------------------------------------------------------------------------


async def test_requests_of_a_key_are_limited(quick: Public, backend: Backend) -> None:
    await allow(quick, {"per_key": {"requests": "3/min"}, "per_source": FREE})
    key = MANY["b"]
    assert [(await quick.visit(chat(), key=key)).status for _ in range(3)] == [200] * 3
    late = await quick.visit(chat(), key=key)
    assert (late.status, late.code) == (429, "rate_limit_exceeded")
    assert 1 <= int(late.headers["retry-after"]) <= 20
    assert (await quick.visit(chat(), key=MANY["c"])).status == 200
    assert len(backend.requests) == 4
    assert (await quick.metrics()).value("public_rejected_total", reason="rate") == 1


async def test_requests_of_a_source_are_limited(quick: Public) -> None:
    await allow(quick, {"per_key": FREE, "per_source": {**FREE, "requests": "2/min"}})
    here, there = {"cf-connecting-ip": "2001:db8::1"}, {"cf-connecting-ip": "192.0.2.2"}
    neighbour = {"cf-connecting-ip": "2001:db8::2"}
    sent = (here, neighbour, here, there)
    told = [(await quick.visit(chat(), key=A, headers=one)).status for one in sent]
    assert told == [200, 200, 429, 200]


async def test_bytes_of_a_key_are_limited(quick: Public) -> None:
    await allow(quick, {"per_key": {**FREE, "bytes": "10kB/min"}, "per_source": FREE})
    large = chat(padding="x" * 20_000)
    assert (await quick.visit(large, key=MANY["d"])).status == 200
    assert (await quick.visit(chat(), key=MANY["d"])).status == 429
    assert (await quick.visit(data=b"x" * 20_000, key=MANY["e"])).status == 400
    assert (await quick.visit(chat(), key=MANY["e"])).status == 429, "what is no JSON counts too"
    assert (await quick.visit(chat(), key=MANY["f"])).status == 200


async def test_streams_at_once_are_limited(quick: Public, backend: Backend) -> None:
    await allow(quick, {"per_key": {**FREE, "streams": 2}, "per_source": FREE})
    go, key = asyncio.Event(), MANY["g"]
    backend.rest = b.gated(go)
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(quick.visit(chat(stream=True), key=key)) for _ in range(2)]
        await backend.seen(2)
        late = await quick.visit(chat(stream=True), key=key)
        assert late.status == 429 and int(late.headers["retry-after"]) > 0
        other = group.create_task(quick.visit(chat(stream=True), key=MANY["h"]))
        await backend.seen(3)
        go.set()
    assert [one.result().text for one in (*asked, other)] == [text_of("p")] * 3
    again = [(await quick.visit(chat(stream=True), key=key)).status for _ in range(3)]
    assert again == [200] * 3, "places are given back"


async def test_a_body_that_is_too_large_is_counted(quick: Public) -> None:
    await allow(quick, NO_LIMITS)
    assert (await quick.visit(data=b" " * 11_000_000, key=A)).status == 413
    assert (await quick.metrics()).value("public_rejected_total", reason="size") == 1


# --- the life of the listener ------------------------------------------------------------------


async def test_it_comes_and_goes_with_the_configuration(backend: Backend, tmp_path: Path) -> None:
    sidecar = Public(tmp_path, offered(backend))
    section, sidecar.public = sidecar.public, None
    async with sidecar:
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", sidecar.public_port)
        sidecar.public = section
        await sidecar.reload(offered(backend))
        assert (await sidecar.visit(chat())).status == 200
        sidecar.public = {"i_know_this_is_open": True, "keys": None}
        await sidecar.reload(offered(backend))
        assert (await sidecar.visit(chat(), key=None)).status == 200
        assert "the public listener is open" in sidecar.output
        status = (await sidecar.admin("/status")).json["public"]
        assert isinstance(status, dict) and status["open"] is True
        assert (await sidecar.metrics()).value("public_open") == 1
        sidecar.public = {}
        sidecar.public_port += 1
        await sidecar.reload(offered(backend))
        sidecar.public_port -= 1
        configuration = (await sidecar.admin("/status")).json["configuration"]
        assert "listeners.public" in json.dumps(configuration), "a restart is needed"
        assert (await sidecar.visit(chat(), key=None)).status == 401
        sidecar.public = None
        await sidecar.reload(offered(backend))
        for path in ("/v1/chat/completions", "/v1/messages", "/nowhere"):
            gone = await sidecar.visit(chat(), path)
            assert (gone.status, gone.code) == (404, "not_found")


async def test_a_key_comes_and_goes_with_its_line(backend: Backend, tmp_path: Path) -> None:
    async with Public(tmp_path, offered(backend)) as sidecar:
        assert (await sidecar.visit(chat(), key=PHONE)).status == 200
        lines = sidecar.keys_file.read_text(encoding="utf-8").splitlines(keepends=True)
        beside = sidecar.keys_file.with_suffix(".new")
        beside.write_text(lines[0], encoding="utf-8")
        beside.replace(sidecar.keys_file)

        async def is_revoked() -> bool:
            return (await sidecar.visit(chat(), key=PHONE)).status == 401

        await until(is_revoked, "the key is revoked")
        assert (await sidecar.visit(chat())).status == 200


async def test_a_port_that_is_taken_is_told_and_hurts_nobody(
    backend: Backend, tmp_path: Path
) -> None:
    sidecar = Public(tmp_path, offered(backend))
    section, sidecar.public = sidecar.public, None

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with sidecar:
        other = await asyncio.start_server(hang_up, "127.0.0.1", sidecar.public_port)
        sidecar.public = section
        await sidecar.reload(offered(backend))
        status = (await sidecar.admin("/status")).json["public"]
        assert isinstance(status, dict)
        assert str(sidecar.public_port) in str(status["fault"])
        assert (await sidecar.ask(chat())).status == 200
        other.close()
        await other.wait_closed()
        await sidecar.reload({**offered(backend), "log": {"level": "debug", "format": "json"}})
        assert (await sidecar.visit(chat())).status == 200
        status = (await sidecar.admin("/status")).json["public"]
        assert isinstance(status, dict) and status["fault"] is None


async def test_an_open_listener_knows_nobody(backend: Backend, tmp_path: Path) -> None:
    public: Config = {"i_know_this_is_open": True, "keys": None}
    async with Public(tmp_path, offered(backend), public) as sidecar:
        assert "is open: everybody" in sidecar.output
        for key in (None, "anything"):
            got = await sidecar.visit(chat(), key=key)
            assert got.status == 200
            line = await sidecar.request_line(got.headers["x-request-id"])
            assert "client" not in line and line["source"] == "127.0.0.1"
        assert (await sidecar.look("/status", key=None)).status == 404
        assert "anything" not in json.dumps([seen.headers for seen in backend.requests])
