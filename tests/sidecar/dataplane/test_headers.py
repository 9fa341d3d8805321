"""Which headers cross, in each direction."""

import pytest
from multidict import CIMultiDict

from sidecar.dataplane.headers import client_key, passed_query, towards_backend, towards_client


def passes(name: str) -> bool:
    return towards_backend([(name, "x")]) == [(name, "x")]


@pytest.mark.parametrize(
    "name",
    [
        "Content-Type", "Accept", "User-Agent", "traceparent", "tracestate", "baggage",
        "OpenAI-Organization", "OpenAI-Project", "OpenAI-Beta", "X-Stainless-Read-Timeout",
        "Idempotency-Key", "X-Title", "HTTP-Referer", "X-Client-Request-Id", "X-DashScope-SSE",
        "Accept-Language", "X-Custom", "X-Author", "Authority", "X-Tokens-Wanted",
    ],
)  # fmt: skip
def test_end_to_end_headers_pass(name: str) -> None:
    assert passes(name)


@pytest.mark.parametrize(
    "name",
    [
        # hop by hop
        "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding",
        "Upgrade", "HTTP2-Settings",
        # what is written anew on this side
        "Host", "Content-Length", "Content-Encoding", "Accept-Encoding", "Expect",
        # every form of key, and cookies
        "Authorization", "AUTHORIZATION", "X-Authorization", "Proxy-Authorization",
        "Proxy-Authenticate", "Cookie", "Cookie2", "X-Api-Key", "Api-Key", "ApiKey", "X-ApiKey",
        "x_api_key", "X-Goog-Api-Key", "Ocp-Apim-Subscription-Key", "X-Auth-Token", "X-Auth-Key",
        "X-Access-Token", "X-Amz-Security-Token", "X-CSRF-Token", "Token", "X-Session-Token",
        "X-Client-Secret", "X-Password", "Helicone-Auth", "X-OpenAI-Api-Key",
        # the way it came
        "CF-Ray", "cf-connecting-ip", "CDN-Loop", "X-Forwarded-For", "X-Forwarded-Proto",
        "X-Forwarded", "Forwarded", "Via", "X-Real-IP", "True-Client-IP",
        # ours
        "X-Sidecar-Backend", "X-Sidecar-Via",
    ],
)  # fmt: skip
def test_the_deny_list(name: str) -> None:
    assert not passes(name)


def test_what_connection_names_is_hop_by_hop_too() -> None:
    headers = [("Connection", "close, X-One"), ("connection", "x-two"), ("X-One", "1")]
    headers += [("x-TWO", "2"), ("X-Three", "3")]
    assert towards_backend(headers) == [("X-Three", "3")]


def test_repeated_headers_stay_repeated() -> None:
    twice = [("Accept", "a"), ("Accept", "b")]
    assert towards_backend(twice) == twice


@pytest.mark.parametrize(
    "name",
    [
        "Retry-After", "Retry-After-Ms", "X-Should-Retry", "X-RateLimit-Limit-Requests",
        "anthropic-ratelimit-tokens-remaining", "Request-Id", "OpenAI-Processing-Ms",
        "OpenAI-Version", "X-MS-Request-Id", "Apim-Request-Id", "Content-Type",
        "Content-Disposition", "Content-Range", "Content-Language", "ETag", "Last-Modified",
        "Accept-Ranges", "Allow",
    ],
)  # fmt: skip
def test_of_answers_these_pass(name: str) -> None:
    assert towards_client({name: "x"}) == {name.lower(): "x"}


@pytest.mark.parametrize(
    "name",
    [
        "Set-Cookie", "Server", "Date", "Connection", "Transfer-Encoding", "Content-Length",
        "Content-Encoding", "Vary", "CF-Ray", "Alt-Svc", "Strict-Transport-Security",
        "Access-Control-Allow-Origin", "WWW-Authenticate", "X-Sidecar-Backend",
    ],
)  # fmt: skip
def test_of_answers_these_do_not(name: str) -> None:
    assert towards_client({name: "x"}) == {}


@pytest.mark.parametrize("headers", [{"X-Request-ID": "r1"}, CIMultiDict({"X-Request-ID": "r1"})])
def test_a_backends_request_id_gets_a_name_of_its_own(headers: dict[str, str]) -> None:
    assert towards_client(headers) == {"x-backend-request-id": "r1"}


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"Authorization": "Bearer sk-1"}, "sk-1"),
        ({"Authorization": "bearer  sk-1 "}, "sk-1"),
        ({"Authorization": "Basic dTpw"}, None),
        ({"Authorization": "Bearer"}, None),
        ({"Authorization": "Bearer "}, None),
        ({"X-Api-Key": "sk-2"}, "sk-2"),
        ({"Api-Key": "sk-3"}, "sk-3"),
        ({"Authorization": "Bearer sk-1", "X-Api-Key": "sk-2"}, "sk-1"),
        ({"X-Api-Key": ""}, None),
        ({}, None),
    ],
)
def test_client_key(headers: dict[str, str], key: str | None) -> None:
    assert client_key(CIMultiDict(headers)) == key


@pytest.mark.parametrize(
    ("query", "passed"),
    [
        ("", ""),
        ("api-version=2024-10-21&x=%2F", "api-version=2024-10-21&x=%2F"),
        ("x=1&key=AIza&y=2", "x=1&y=2"),
        ("KEY=a", ""),
        ("api_key=a&apiKey=b&access_token=c&token=d&client-secret=e&x=", "x="),
        ("auth=a&Authorization=b&bearer=c&jwt=d&session_token=e&refresh-token=f&x=1", "x=1"),
        ("X-Amz-Credential=a&X-Amz-Signature=b&X-Amz-Security-Token=c&passwd=d&x=1", "x=1"),
        ("monkey=1&tokens=2&author=3&pageToken=4", "monkey=1&tokens=2&author=3&pageToken=4"),
    ],
)
def test_no_key_passes_in_a_query(query: str, passed: str) -> None:
    assert passed_query(query) == passed
