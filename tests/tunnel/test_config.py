"""The section `tunnel:`: what it takes, what it comes to, and that it gives nothing away."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from tunnel.config import TunnelSection, check, proof_secret, settle
from tunnel.settings import Settings

ID = "6ff42ae2-765d-4adf-8112-31c55c1551ef"
SECRET = base64.b64encode(b"s" * 32).decode()
TOKEN = base64.b64encode(json.dumps({"a": "acc", "t": ID, "s": SECRET}).encode()).decode()
CREDENTIALS = json.dumps({"AccountTag": "acc", "TunnelSecret": SECRET, "TunnelID": ID})
PEM = "-----BEGIN CERTIFICATE-----\n..."
ORIGIN = "http://127.0.0.1:14402"
FILES: dict[str, bytes | str] = {
    "token": TOKEN.encode() + b"\n",
    "creds.json": CREDENTIALS.encode(),
    "edge.pem": PEM.encode(),
    "empty": b" \n",
    "odd": b"\xff\xfe",
    "junk": b"not a token",
    "gone": "no such file",
}


def section(data: object) -> TunnelSection:
    found = check(data)
    assert isinstance(found, TunnelSection), found
    return found


def settled(data: object, environ: Mapping[str, str] | None = None) -> Settings:
    result = settle(section(data), ORIGIN, FILES, environ or {}, "/etc/x")
    assert result.complaints == []
    assert result.settings is not None
    return result.settings


@pytest.mark.parametrize(
    ("data", "kind", "secret", "tunnel_id"),
    [
        ({"token": {"file": "token"}}, "token", TOKEN, ID),
        ({"token": {"env": "T"}}, "token", TOKEN, ID),
        ({"credentials": {"file": "creds.json"}}, "credentials", CREDENTIALS, ID),
        (
            {"credentials": {"file": "creds.json", "id": ID.upper()}},
            "credentials", CREDENTIALS, ID,
        ),
        ({"quick": True}, "quick", None, None),
        ({"quick": "true"}, "quick", None, None),  # as ${NAME} gives it
    ],
)  # fmt: skip
def test_each_kind_of_tunnel(
    data: object, kind: str, secret: str | None, tunnel_id: str | None
) -> None:
    found = settled(data, {"T": f" {TOKEN}\n"})
    assert (found.kind, found.secret, found.tunnel_id) == (kind, secret, tunnel_id)
    assert found.origin == ORIGIN


def test_everything_that_can_be_said() -> None:
    probe = {
        "url": "https://llm.example.com/", "every": "5s", "connect": "[::1]:18080",
        "ca": "edge.pem", "headers": {"CF-Access-Client-Secret": {"env": "S"}, "x-a": "b"},
        "control": ["https://example.com/health"],
    }  # fmt: skip
    found = settled(
        {
            "token": {"file": "token"},
            "protocol": "http2",
            "grace": "1m",
            "binary": "bin/cf",
            "probe": probe,
        },
        {"S": "hidden"},
    )
    assert (found.protocol, found.grace, found.binary) == ("http2", 60.0, "/etc/x/bin/cf")
    assert found.probe.url == "https://llm.example.com"
    assert found.probe.every == 5.0
    assert found.probe.connect == ("::1", 18080)
    assert found.probe.ca == PEM
    assert found.probe.headers == {"CF-Access-Client-Secret": "hidden", "x-a": "b"}
    assert found.probe.control == ("https://example.com/health",)


@pytest.mark.parametrize(
    ("data", "place", "expected"),
    [
        ({}, (), "exactly one of token, credentials, quick"),
        ({"quick": False}, (), "exactly one of"),
        ({"quick": True, "token": {"file": "token"}}, (), "exactly one of"),
        ({"token": TOKEN}, ("token",), "{env: NAME} or {file: PATH}"),
        ({"token": {"env": "A", "file": "b"}}, ("token",), "exactly one of env, file"),
        ({"quick": True, "grace": "4m"}, ("grace",), "at most 3m"),
        ({"quick": True, "grace": "soon"}, ("grace",), "a duration such as"),
        ({"quick": True, "protocol": "h2"}, ("protocol",), "'auto', 'quic' or 'http2'"),
        ({"quick": True, "probe": {"url": "llm.example.com"}}, ("probe", "url"), "https://"),
        ({"quick": True, "probe": {"url": "https://a/b"}}, ("probe", "url"), "without a path"),
        ({"quick": True, "probe": {"url": "https://u:p@a"}}, ("probe", "url"), "an address"),
        ({"quick": True, "probe": {"connect": "127.0.0.1"}}, ("probe", "connect"), "with a port"),
        ({"quick": True, "probe": {"connect": "http://h:1"}}, ("probe", "connect"), "with a port"),
        ({"quick": "maybe"}, ("quick",), "true or false"),
        ({"quick": True, "probe": {"connect": "h:99999"}}, ("probe", "connect"), "with a port"),
        ({"quick": True, "origin": "https://x"}, ("origin",), "http://127.0.0.1:14402"),
        ({"credentials": {"file": "a", "id": "b"}}, ("credentials", "id"), "a UUID"),
        ({"quick": True, "grcae": "1s"}, ("grcae",), "Extra inputs"),
    ],
)
def test_what_the_schema_refuses(data: object, place: tuple[str, ...], expected: str) -> None:
    complaints = check(data)
    assert isinstance(complaints, list)
    assert [(one["loc"], expected in one["msg"]) for one in complaints] == [(place, True)]


@pytest.mark.parametrize(
    ("data", "place", "found"),
    [
        ({"token": {"file": "gone"}}, ("token", "file"), "gone: no such file"),
        ({"token": {"file": "empty"}}, ("token", "file"), "empty, which is empty"),
        ({"token": {"file": "odd"}}, ("token", "file"), "odd, which is no UTF-8 text"),
        ({"token": {"file": "junk"}}, ("token",), "11 characters that are no tunnel token"),
        ({"token": {"env": "NONE"}}, ("token", "env"), "the variable NONE"),
        ({"token": {"env": "TWO"}}, ("token",), "more than one line"),
        ({"credentials": {"file": "junk"}}, ("credentials", "file"), "no tunnel credentials"),
        (
            {"credentials": {"file": "creds.json", "id": ID.replace("6", "7")}},
            ("credentials", "id"), "another id",
        ),
        ({"quick": True, "probe": {"ca": "junk"}}, ("probe", "ca"), "without a certificate"),
        (
            {"quick": True, "probe": {"headers": {"authorization": "Bearer x"}}},
            ("probe", "headers", "authorization"), "a literal (not shown)",
        ),
        (
            {"quick": True, "probe": {"url": "https://llm.example.com"}},
            ("probe", "url"), "https://llm.example.com",
        ),
        ({"quick": True, "origin": "http://127.0.0.1:1"}, ("origin",), "http://127.0.0.1:1"),
    ],
)  # fmt: skip
def test_what_does_not_settle(data: object, place: tuple[str, ...], found: str) -> None:
    result = settle(section(data), ORIGIN, FILES, {"TWO": "a\nb"}, "/etc/x")
    assert result.settings is None
    assert [(one.path, found in one.found) for one in result.complaints] == [(place, True)]


@pytest.mark.parametrize(
    "data", [{"token": {"file": "token"}}, {"credentials": {"file": "creds.json"}}]
)
def test_nothing_secret_prints(data: dict[str, Any]) -> None:
    data["probe"] = {"headers": {"x-key": {"env": "K"}}, "secret": {"env": "P"}}
    result = settle(section(data), ORIGIN, FILES, {"K": "key-value", "P": "proof-value"}, "/etc/x")
    assert result.settings is not None
    assert {"key-value", "proof-value"} <= set(result.secrets)
    assert result.settings.secret in result.secrets
    for hidden in (TOKEN, SECRET, "key-value", "proof-value"):
        assert hidden not in repr(result.settings)


def test_a_token_and_credentials_of_one_tunnel_prove_the_same() -> None:
    assert proof_secret(TOKEN) == proof_secret(f"{TOKEN}\n") == proof_secret(CREDENTIALS)
    assert proof_secret("a passphrase") == b"a passphrase"
    assert proof_secret(None) == b""
