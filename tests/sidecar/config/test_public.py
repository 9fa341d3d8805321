"""The public listener: shut unless somebody says who may come in."""

from pathlib import Path
from typing import Any

import pytest

from sidecar.config.client_keys import HEAD, with_key, written
from sidecar.config.faults import ConfigError
from sidecar.config.load import Loaded, load
from sidecar.config.snapshot import Access, Public
from sidecar.policy.clients import ClientKey, digest
from sidecar.policy.rate import ClientBounds

KEY = written("anna", "sk-sidecar-a", "2026-11-27")
ROUTES = "routes: {r: {public: true, targets: [{backend: a}]}}\n"
AROUND = f"backends: {{a: {{dialect: openai, base_url: http://10.0.0.1/v1}}}}\n{ROUTES}"
KEYS = "keys: {file: keys.txt}"
ACCESS = "access: {team: acme, audience: 4714c1358e}"


def read(tmp_path: Path, public: str, keys: str | None = KEY, around: str = AROUND) -> Loaded:
    if keys is not None:
        (tmp_path / "keys.txt").write_text(keys)
    file = tmp_path / "f.yaml"
    file.write_text(f"{around}listeners:\n  public: {{{public}}}\n")
    return load(str(file), {})


def door(tmp_path: Path, public: str) -> Public:
    loaded = read(tmp_path, public)
    assert not loaded.warnings
    found = loaded.snapshot.public
    assert found is not None
    return found


def told(tmp_path: Path, public: str, **rest: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, public, **rest)
    return str(raised.value).replace(f"{tmp_path}/", "")


def test_without_the_section_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(AROUND)
    snapshot = load(str(tmp_path / "f.yaml"), {}).snapshot
    assert snapshot.public is None
    assert snapshot.routes.routes[0].public


def test_its_defaults(tmp_path: Path) -> None:
    found = door(tmp_path, KEYS)
    assert found.keys == (ClientKey("anna", digest("sk-sidecar-a")),)
    assert (found.access, found.is_open, found.early_head) == (None, False, False)
    listener = found.listener
    assert (listener.addresses, listener.port) == (("127.0.0.1", "::1"), 14402)
    assert (listener.keepalive, listener.commit_after, listener.origins) == (15, 60, ())
    assert found.per_key == ClientBounds(2.0, 100e6 / 60, 8)
    assert found.per_source == ClientBounds(1.0, 100e6 / 60, 8, 10 / 60)


def test_everything_can_be_said(tmp_path: Path) -> None:
    found = door(
        tmp_path,
        f"{KEYS}, {ACCESS}, port: 9, origins: ['HTTPS://App.example/'], keepalive: 5s, "
        "commit_after: none, early_head: true, limits: {per_key: {requests: 3/s, bytes: 6MB/min, "
        "streams: none}, per_source: {requests: none, bytes: none, streams: 2, failures: 6/min}}",
    )
    assert found.access == Access(
        "https://acme.cloudflareaccess.com", "4714c1358e",
        "https://acme.cloudflareaccess.com/cdn-cgi/access/certs",
    )  # fmt: skip
    assert found.keys is not None
    assert found.listener.origins == ("https://app.example",)
    assert (found.listener.port, found.listener.keepalive) == (9, 5)
    assert found.listener.commit_after is None
    assert found.early_head
    assert found.per_key == ClientBounds(3.0, 100_000.0, None)
    assert found.per_source == ClientBounds(None, None, 2, 0.1)


@pytest.mark.parametrize(
    ("public", "issuer", "certs"),
    [
        ("team: Acme", "https://acme.cloudflareaccess.com",
         "https://acme.cloudflareaccess.com/cdn-cgi/access/certs"),
        ("team: acme.cloudflareaccess.com", "https://acme.cloudflareaccess.com",
         "https://acme.cloudflareaccess.com/cdn-cgi/access/certs"),
        ("team: acme, certs_url: 'http://127.0.0.1:9/c'", "https://acme.cloudflareaccess.com",
         "http://127.0.0.1:9/c"),
        ("team: acme, certs_url: 'http://[::1]:9/c'", "https://acme.cloudflareaccess.com",
         "http://[::1]:9/c"),
    ],
)  # fmt: skip
def test_whose_tokens_are_good(tmp_path: Path, public: str, issuer: str, certs: str) -> None:
    found = door(tmp_path, f"access: {{{public}, audience: x}}")
    assert found.access == Access(issuer, "x", certs)
    assert found.keys is None


def test_an_open_one_must_be_meant(tmp_path: Path) -> None:
    text = told(tmp_path, "")
    assert text.startswith("f.yaml:4:3: listeners.public: found neither keys nor access")
    assert "`llm-sidecar keys add NAME`" in text
    assert "i_know_this_is_open: true" in text
    assert door(tmp_path, "i_know_this_is_open: true").is_open


@pytest.mark.parametrize(
    ("public", "keys", "words"),
    [
        (KEYS, None, ["listeners.public.keys.file: found 'keys.txt': no such file", "keys add"]),
        (KEYS, "", ["f.yaml:4:25: listeners.public.keys.file: found 'keys.txt': an empty file"]),
        (KEYS, KEY + "ben", ["'keys.txt', line 2: no digest, expected a name, sha256:"]),
        (KEYS, "x\n" * 99, ["line 10: no digest", "89 more such lines"]),
        (f"{KEYS}, port: 14400", KEY, ["listeners.public.port: found 14400, the port of data too"]),
        (f"{KEYS}, port: 14401", KEY, ["listeners.public.port: found 14401, the port of admin"]),
        (f"{KEYS}, bind: 0.0.0.0", KEY, ["found the unknown key 'bind'"]),
        ("access: {team: acme}", KEY, ["no audience"]),
        ("access: {team: 'a b', audience: x}", KEY, ["expected a team such as acme"]),
        ("access: {team: 'https://a.b', audience: x}", KEY, ["expected a team such as acme"]),
        ("access: {team: a, audience: x, certs_url: 'http://example.com/c'}", KEY,
         ["certs_url: found 'http://example.com/c', expected a URL that begins with https://"]),
        ("access: {team: a, audience: x, certs_url: '/c'}", KEY, ["certs_url: found '/c'"]),
        (f"{KEYS}, origins: ['*']", KEY, ["found '*', expected the whole origin of a page"]),
        (f"{KEYS}, origins: [a.example]", KEY, ["origins[0]: found 'a.example', expected the"]),
        (f"{KEYS}, origins: ['https://a.example/b']", KEY, ["such as https://app.example.org"]),
        (f"{KEYS}, limits: {{per_key: {{failures: 1/s}}}}", KEY, ["unknown key 'failures'"]),
        (f"{KEYS}, limits: {{per_key: {{requests: 0/s}}}}", KEY, ["expected more than nothing"]),
        (f"{KEYS}, limits: {{per_key: {{bytes: 1MB}}}}", KEY, ["expected bytes by time such as"]),
        (f"{KEYS}, limits: {{per_key: {{streams: 0}}}}", KEY, ["streams: found 0"]),
        (f"{KEYS}, limits: {{per_key: {{streams: many}}}}", KEY, ["expected a whole number"]),
    ],
)  # fmt: skip
def test_faults(tmp_path: Path, public: str, keys: str | None, words: list[str]) -> None:
    text = told(tmp_path, public, keys=keys)
    assert [word for word in words if word not in text] == []


def test_a_port_of_another_listener_that_was_written_is_told_there(tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text(KEY)
    file = tmp_path / "f.yaml"
    file.write_text(f"{AROUND}listeners: {{public: {{{KEYS}}}, admin: {{port: 14402}}}}\n")
    with pytest.raises(ConfigError, match=r"listeners\.admin\.port: found 14402, the port of pub"):
        load(str(file), {})


def test_a_file_without_its_last_key_lets_nobody_in(tmp_path: Path) -> None:
    loaded = read(tmp_path, KEYS, keys=HEAD)
    assert loaded.snapshot.public is not None
    assert loaded.snapshot.public.keys == ()
    assert not loaded.snapshot.public.is_open
    (warning,) = loaded.warnings
    assert "nobody can come in" in warning.render("f")


def test_without_a_public_route_it_offers_nothing(tmp_path: Path) -> None:
    around = AROUND.replace("public: true, ", "")
    (warning,) = read(tmp_path, KEYS, around=around).warnings
    assert "no route that it offers, expected public: true at a route" in warning.render("f")


def test_no_backend_may_be_this_listener(tmp_path: Path) -> None:
    around = AROUND.replace("10.0.0.1", "127.0.0.1:14402")
    assert "an address of this sidecar itself" in told(tmp_path, KEYS, around=around)


def test_a_changed_key_is_another_revision_and_shows_in_the_folder(tmp_path: Path) -> None:
    first = read(tmp_path, KEYS)
    again = read(tmp_path, KEYS)
    other = read(tmp_path, KEYS, keys=with_key(KEY.encode(), written("ben", "b", "")).decode())
    assert first.snapshot.revision == again.snapshot.revision != other.snapshot.revision
    assert tmp_path in first.directories
