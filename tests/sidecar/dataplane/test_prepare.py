"""From a request and a candidate to the call: the same bytes, but for what must change."""

from typing import Any

import pytest

from sidecar.config.secret import Secret
from sidecar.config.snapshot import Credential, Forward, Quirks, UsageInStream
from sidecar.dataplane.prepare import prepare
from sidecar.dataplane.upstream import UpstreamCall
from sidecar.wire.contract import Operation
from tests.sidecar.dataplane.script import candidate, inbound, outbound, prepared, route
from tests.sidecar.examples import backend, bearer

RAW = (
    b'{ "model" : "m", "seed":1e5, "x":[1.10,12345678901234567890], "messages":[{"role":"user"}] }'
)
OURS = {"x-sidecar-via": "me", "Accept-Encoding": "identity"}


def call_of(request: Any, sent: str | None = "m", **changes: Any) -> UpstreamCall:
    return prepared(request, backend("home", **changes), sent).call


# --- the body -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", ["m", None])
def test_where_nothing_changes_the_backend_gets_the_very_same_bytes(sent: str | None) -> None:
    assert call_of(inbound(RAW), sent).body is RAW


def test_another_model_is_spliced_in() -> None:
    assert call_of(inbound(RAW), "other").body == RAW.replace(b'"m"', b'"other"')


@pytest.mark.parametrize(
    ("stream", "wants", "quirk", "asked"),
    [
        (True, False, UsageInStream.ON_REQUEST, True),
        (True, True, UsageInStream.ON_REQUEST, False),
        (False, False, UsageInStream.ON_REQUEST, False),
        (True, False, UsageInStream.ALWAYS, False),
        (True, False, UsageInStream.NEVER, False),
    ],
)
def test_usage_is_asked_for_where_it_must_be(
    stream: bool, wants: bool, quirk: UsageInStream, asked: bool
) -> None:
    request = inbound(b'{"model":"m"}', stream=stream, wants_usage=wants)
    body = call_of(request, quirks=Quirks(usage_in_stream=quirk)).body
    expected = b'{"stream_options":{"include_usage":true},"model":"m"}'
    assert body == (expected if asked else b'{"model":"m"}')


@pytest.mark.parametrize(
    ("quirks", "expected"),
    [
        pytest.param(Quirks(drop=("x",)), b'{"model":"m","max_tokens":1e2}', id="drop"),
        pytest.param(
            Quirks(rename={"max_tokens": "max_completion_tokens"}),
            b'{"model":"m","x":{"max_tokens": 1.10},"max_completion_tokens":1e2}',
            id="rename, top-level only, values as written",
        ),
        pytest.param(
            Quirks(set={"x": None, "new": [1]}),
            b'{"model":"m","x":null,"max_tokens":1e2,"new":[1]}',
            id="set",
        ),
        pytest.param(
            Quirks(rename={"x": "y"}, drop=("max_tokens",), set={"y": 1}),
            b'{"model":"m","y":1}',
            id="rename, then drop, then set",
        ),
    ],
)
def test_quirks_bend_the_top_level(quirks: Quirks, expected: bytes) -> None:
    raw = b'{"model":"m", "x" : {"max_tokens": 1.10} ,"max_tokens":1e2}'
    assert call_of(inbound(raw), quirks=quirks).body == expected


def test_a_patch_comes_before_the_quirks() -> None:
    request = inbound(b'{"model":"m","stream":true}', stream=True)
    body = call_of(request, "other", quirks=Quirks(rename={"model": "engine"})).body
    assert body == b'{"stream_options":{"include_usage":true},"engine":"other","stream":true}'


def test_an_opaque_request_without_a_body() -> None:
    request = inbound(b"", operation=Operation.OPAQUE, model=None, path="/v1/files")
    call = call_of(request, "other")
    assert (call.body, call.url) == (None, "http://home.invalid/v1/files")


# --- the address ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quirks", "query", "url"),
    [
        (Quirks(), "", "http://home.invalid/v1/chat/completions"),
        (Quirks(), "a=1&key=k", "http://home.invalid/v1/chat/completions?a=1"),
        (Quirks(query={"v": "1 2"}), "", "http://home.invalid/v1/chat/completions?v=1+2"),
        (Quirks(query={"v": "1"}), "a=%2F", "http://home.invalid/v1/chat/completions?a=%2F&v=1"),
        (
            Quirks(path="/openai/deployments/d{path}"),
            "",
            "http://home.invalid/v1/openai/deployments/d/chat/completions",
        ),
    ],
)
def test_where_a_call_goes(quirks: Quirks, query: str, url: str) -> None:
    assert call_of(inbound(query=query), quirks=quirks).url == url


def test_limits_and_place_travel_with_the_call() -> None:
    sent = outbound(inbound(), route(stay_local=True), "a, me")
    call = prepare(sent, candidate(), backend("home"), frozenset()).call
    assert (call.method, call.connect, call.stay_local) == ("POST", 3, True)
    assert call.headers["x-sidecar-via"] == "a, me"


# --- headers and keys -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "headers", "query"),
    [
        pytest.param(None, {}, "", id="none"),
        pytest.param(bearer("sk-1"), {"Authorization": "Bearer sk-1"}, "", id="bearer"),
        pytest.param(
            Credential("header", "api-key", Secret("k", "env K")), {"api-key": "k"}, "", id="header"
        ),
        pytest.param(
            Credential("query", "key", Secret("k/", "env K")), {}, "?key=k%2F", id="query"
        ),
        pytest.param(Forward(), {"Authorization": "Bearer mine"}, "", id="forward"),
        pytest.param(
            Forward(("other-*",)), {"Authorization": "Bearer mine"}, "", id="forward, not foreign"
        ),
        pytest.param(Forward(("mi*",)), {}, "", id="forward, foreign and nothing else"),
        pytest.param(
            Forward(("mi*",), bearer("sk-1")),
            {"Authorization": "Bearer sk-1"},
            "",
            id="forward, foreign, replaced",
        ),
        pytest.param(
            Forward(("MI*",), bearer("sk-1")),
            {"Authorization": "Bearer mine"},
            "",
            id="keys are told apart by case",
        ),
    ],
)
def test_which_key_a_call_carries(auth: Any, headers: dict[str, str], query: str) -> None:
    brought = [("authorization", "Bearer mine"), ("x-api-key", "mine")]
    request = inbound(headers=brought, key="mine")
    made = prepared(request, backend("home", auth=auth))
    call, key = made.call, made.key
    assert call.headers == OURS | headers
    assert call.url.partition("completions")[2] == query
    assert key.forwarded is (headers.get("Authorization") == "Bearer mine")


@pytest.mark.parametrize(
    ("otherwise", "headers"),
    [(None, {}), (bearer("sk-1"), {"Authorization": "Bearer sk-1"})],
)
def test_a_client_without_a_key(otherwise: Credential | None, headers: dict[str, str]) -> None:
    call = call_of(inbound(), auth=Forward((), otherwise))
    assert call.headers == OURS | headers


def test_the_clients_headers_pass_but_never_over_ours() -> None:
    sent = [("X-Custom", "1"), ("openai-beta", "old"), ("my-key", "mine"), ("Cookie", "c")]
    call = call_of(
        inbound(headers=[*sent, ("accept-encoding", "br")]),
        quirks=Quirks(header={"OpenAI-Beta": "new"}),
        auth=Credential("header", "My-Key", Secret("k", "env K")),
    )
    assert call.headers == OURS | {"X-Custom": "1", "OpenAI-Beta": "new", "My-Key": "k"}


def test_repeated_headers_are_joined() -> None:
    call = call_of(inbound(headers=[("Accept", "a"), ("ACCEPT", "b"), ("baggage", "")]))
    assert call.headers == OURS | {"Accept": "a, b", "baggage": ""}
