"""Each way in which a web page, a rebound name or a tunnel could come to a listener."""

import pytest

from sidecar.policy.doors import refuse, told_address

POD = "10.1.2.3"
HOSTS = ("sidecar.example",)
ORIGINS = ("http://localhost:3000",)


def code_of(
    headers: list[tuple[str, str]], method: str = "GET", json_only: bool = False
) -> str | None:
    problem = refuse(
        method,
        headers,
        local_address=POD,
        hosts=HOSTS,
        origins=ORIGINS,
        json_only=json_only,
    )
    return problem.code if problem is not None else None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:14400",
        "LOCALHOST:1",
        "localhost.:14400",
        "127.0.0.1:14400",
        "127.1.2.3",
        "[::1]:14400",
        "[::ffff:127.0.0.1]",
        "10.1.2.3:14401",
        "[::ffff:10.1.2.3]:14401",
        "sidecar.example:14400",
        "Sidecar.Example",
    ],
)
def test_our_own_names_come_in(host: str) -> None:
    assert code_of([("Host", host)]) is None


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example:14400",
        "localhost.attacker.example",
        "app.localhost",
        "127.0.0.1.nip.io",
        "10.1.2.4",
        "0.0.0.0:14400",
        "[::]",
        "127.1",
        "2130706433",
        "user@localhost",
        "localhost:80:80",
        "localhost/evil",
        "[::1",
        "",
    ],
)
def test_foreign_names_are_refused(host: str) -> None:
    assert code_of([("Host", host)]) == "forbidden_host"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "forbidden_host"),
        ([("Host", "localhost"), ("host", "localhost")], "forbidden_host"),
        ([("Host", "localhost"), ("Origin", "http://localhost:3000")], None),
        ([("Host", "localhost"), ("Origin", "HTTP://LOCALHOST:3000")], None),
        ([("Host", "localhost"), ("Origin", "http://localhost:3001")], "forbidden_origin"),
        ([("Host", "localhost"), ("Origin", "https://attacker.example")], "forbidden_origin"),
        ([("Host", "localhost"), ("Origin", "null")], "forbidden_origin"),
        ([("Host", "localhost"), ("Origin", "")], "forbidden_origin"),
        (
            [
                ("Host", "localhost"),
                ("Origin", "http://localhost:3000"),
                ("Origin", "https://attacker.example"),
            ],
            "forbidden_origin",
        ),
        ([("Host", "localhost"), ("Sec-Fetch-Site", "none")], None),
        ([("Host", "localhost"), ("Sec-Fetch-Site", "same-origin")], None),
        ([("Host", "localhost"), ("Sec-Fetch-Site", "same-site")], "forbidden_origin"),
        ([("Host", "localhost"), ("Sec-Fetch-Site", "Cross-Site")], "forbidden_origin"),
        (
            [
                ("Host", "localhost"),
                ("Origin", "http://localhost:3000"),
                ("Sec-Fetch-Site", "cross-site"),
            ],
            None,
        ),
        ([("Host", "localhost"), ("CF-Ray", "1")], "forbidden_tunnel"),
        ([("Host", "localhost"), ("Cf-Connecting-Ip", "1.2.3.4")], "forbidden_tunnel"),
        ([("Host", "localhost"), ("cf-warp-tag-id", "")], "forbidden_tunnel"),
    ],
)
def test_headers_of_browsers_and_tunnels(headers: list[tuple[str, str]], code: str | None) -> None:
    assert code_of(headers) == code


@pytest.mark.parametrize(
    ("method", "content_type", "code"),
    [
        ("POST", "application/json", None),
        ("POST", "Application/JSON; charset=utf-8", None),
        ("PUT", "application/vnd.api+json", None),
        ("POST", "text/plain", "unsupported_media_type"),
        ("POST", "application/x-www-form-urlencoded", "unsupported_media_type"),
        ("POST", "multipart/form-data; boundary=x", "unsupported_media_type"),
        ("POST", "text/plain; application/json", "unsupported_media_type"),
        ("PATCH", None, "unsupported_media_type"),
        ("GET", None, None),
    ],
)
def test_bodies_are_json_by_content_type(
    method: str, content_type: str | None, code: str | None
) -> None:
    headers = [("Host", "localhost")]
    if content_type is not None:
        headers.append(("Content-Type", content_type))
    assert code_of(headers, method, json_only=True) == code
    assert code_of(headers, method) is None


def test_without_a_known_address_only_loopback_comes_in() -> None:
    assert refuse("GET", [("Host", "localhost")], local_address=None) is None
    problem = refuse("GET", [("Host", "10.1.2.3")], local_address=None)
    assert problem is not None
    assert "hosts:" in problem.message


@pytest.mark.parametrize(
    ("told", "peer", "expected"),
    [
        (("203.0.113.7",), "127.0.0.1", "203.0.113.7"),
        (("2001:DB8::1",), "127.0.0.1", "2001:db8::1"),
        (("203.0.113.7", "203.0.113.7"), "127.0.0.1", "127.0.0.1"),
        (("203.0.113.7, 203.0.113.8",), "::1", "::1"),
        (("203.0.113.7:80",), "127.0.0.1", "127.0.0.1"),
        (("fe80::1%evil",), "127.0.0.1", "127.0.0.1"),
        (("",), "127.0.0.1", "127.0.0.1"),
        ((), "127.0.0.1", "127.0.0.1"),
        ((), None, None),
        (("nonsense",), "unix", None),
    ],
)
def test_a_source_is_one_valid_address_or_the_peer(
    told: tuple[str, ...], peer: str | None, expected: str | None
) -> None:
    found = told_address(told, peer)
    assert (None if found is None else str(found)) == expected
