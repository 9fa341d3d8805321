"""Tokens of Cloudflare Access, with real keys that a real server gives out."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from sidecar.config.snapshot import Access, Listener, Public
from sidecar.control import access as module
from sidecar.control.access import AGAIN, EVERY, LARGEST, LIMIT, LONGEST_NAME, AccessKeys
from sidecar.policy.clients import TokenRefusal, Visitor
from sidecar.policy.rate import ClientBounds
from sidecar.rehearsal.clockwork import Clockwork
from sidecar.runtime.current import Current
from tests.sidecar.examples import backend, route, snapshot

TEAM, AUDIENCE = "https://acme.cloudflareaccess.com", "4714c1358e"

ONE, OTHER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505
CURVE, WRONG_CURVE = (
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
)


def jwk(key: Any, name: str | None, **more: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    described = algorithm.to_jwk(key.public_key(), as_dict=True)
    return described | ({} if name is None else {"kid": name}) | more


JWKS = [jwk(ONE, "one", alg="RS256", use="sig"), jwk(CURVE, "curve")]


DAY = 24 * 3600  # for the tokens are made long before some of them are used


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())  # noqa: TID251  # tokens live by the clock on the wall
    found = {
        "iss": TEAM, "aud": [AUDIENCE], "email": "anna@example.com", "type": "app", "sub": "u-1",
        "iat": now - 5, "nbf": now - 5, "exp": now + DAY,
    } | changes  # fmt: skip
    return {key: value for key, value in found.items() if value is not None}


SERVICE: dict[str, Any] = {"email": None, "nbf": None, "sub": "", "common_name": "e3.access"}


def token(key: Any = ONE, name: str | None = "one", algorithm: str = "RS256", **more: Any) -> str:
    headers = more.pop("headers", {}) | ({} if name is None else {"kid": name})
    payload = json.dumps(claims(**more)).encode()  # any claims, which the library would not sign
    return jwt.PyJWS().encode(payload, key, algorithm, headers)


def forged(header: dict[str, Any], signature: bytes = b"", secret: bytes | None = None) -> str:
    """A token put together by hand, as no library would make it."""
    parts = [json.dumps(one).encode() for one in (header, claims())]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    if secret is not None:
        signature = hmac.new(secret, text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


class Certs:
    """A server that gives out keys, as badly as it is told."""

    def __init__(self) -> None:
        self.keys: list[Any] = [*JWKS]
        self.status, self.body, self.asked = 200, b"", 0
        self.arrivals: asyncio.Queue[int] = asyncio.Queue()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Certs"]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/certs"
        async with server:
            yield self
            self.may_answer.set()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            self.arrivals.put_nowait(self.asked)
            await self.may_answer.wait()
            body = self.body or json.dumps({"keys": self.keys, "public_cert": {}}).encode()
            head = f"HTTP/1.1 {self.status} X\r\ncontent-length: {len(body)}\r\n"
            writer.write(f"{head}location: /other\r\nconnection: close\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()


class Program:
    """The keys with their background task, on a clock of their own."""

    def __init__(self, certs: Certs) -> None:
        self.certs, self.now, self.current = certs, 1000.0, Current()
        self.access = Access(TEAM, AUDIENCE, certs.url)
        self.keys = AccessKeys(self.current, lambda: self.now, lambda: 0.5)
        self.configure(self.access)

    def configure(self, access: Access | None) -> None:
        public = Public(
            Listener(("127.0.0.1",), 14402), None, access, ClientBounds(), ClientBounds()
        )
        self.current.swap(snapshot([backend("a")], [route("r", "a")], public=public))
        self.keys.wake()

    async def verify(self, *tokens: str) -> Visitor | TokenRefusal:
        async with asyncio.timeout(30):
            return await self.keys.verify(tokens, self.access)

    async def asked(self, times: int) -> None:
        """Wait until the server was asked so often, and its answer was read."""
        async with asyncio.timeout(30):
            while self.certs.asked < times:
                await self.certs.arrivals.get()
            team = self.keys._team
            if team is not None and team.pending is not None:
                await team.pending.wait()
        assert self.certs.asked == times

    def after(self, seconds: float) -> None:
        """Let time pass, and have the background task look at the clock."""
        self.now += seconds
        self.keys.wake()


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    async with Certs().serving() as certs, asyncio.TaskGroup() as group:
        found = Program(certs)
        task = group.create_task(found.keys.run())
        yield found
        task.cancel()


ANNA = Visitor("anna@example.com")


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([token()], ANNA),
        ([token(CURVE, "curve", "ES256")], ANNA),
        ([token(aud=AUDIENCE)], ANNA),
        ([token(aud=["x", AUDIENCE])], ANNA),
        ([token(**SERVICE)], Visitor("e3.access", is_service=True)),
        ([token(email=None)], Visitor("u-1", is_service=True)),
        ([token(email=" a\nb\x1b[2J@x")], Visitor("a?b?[2J@x")),
        ([token(email="a" * 999)], Visitor("a" * LONGEST_NAME)),
    ],
)  # fmt: skip
async def test_a_good_token_names_somebody(
    program: Program, tokens: list[str], expected: Visitor
) -> None:
    assert await program.verify(*tokens) == expected


async def test_clocks_may_differ_a_little(program: Program) -> None:
    now = int(time.time())  # noqa: TID251
    assert await program.verify(token(exp=now - 1)) == ANNA
    assert await program.verify(token(nbf=now + 10, iat=now + 10)) == ANNA


PEM = ONE.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
NOW = int(time.time())  # noqa: TID251
REFUSED: list[tuple[list[str], str]] = [
    ([], "there is none"),
    ([token(), token()], "there are 2 tokens"),
    ([f"{token()}, {token()}"], ""),
    ([""], "it is malformed"),
    (["a.b.c"], "it is malformed"),
    ([token()[:-4]], ""),
    ([token() + "A" * 20_000], "it is too long"),
    ([token(OTHER)], "its signature is wrong"),
    ([token(OTHER, "other")], "its key is not the team's"),
    ([token(name=None)], "it is malformed"),
    ([token(headers={"crit": ["b64"]})], "it is malformed"),
    ([token(algorithm="RS512")], "its algorithm is not allowed"),
    ([token(algorithm="PS256")], "its algorithm is not allowed"),
    ([token(CURVE, "one", "ES256")], "its key is not the team's"),
    ([token(ONE, "curve")], "its key is not the team's"),
    ([token(WRONG_CURVE, "curve", "ES384")], "its algorithm is not allowed"),
    ([forged({"alg": "none", "kid": "one"})], "its algorithm is not allowed"),
    ([forged({"alg": "None", "kid": "one"})], "its algorithm is not allowed"),
    ([forged({"kid": "one"})], ""),
    ([forged({"alg": ["RS256"], "kid": "one"})], ""),
    ([forged({"alg": "RS256", "kid": ["one"]})], "it is malformed"),
    ([forged({"alg": "RS256", "kid": "one"})], "its signature is wrong"),
    ([forged({"alg": "RS256", "kid": "one", "jwk": jwk(OTHER, "one")}, secret=PEM)], ""),
    ([forged({"alg": "HS256", "kid": "one"}, secret=PEM)], "its algorithm is not allowed"),
    ([token(exp=NOW - 3600)], "it has expired"),
    ([token(exp=None)], "it has no exp"),
    ([token(exp="soon")], "it is malformed"),
    ([token(nbf=NOW + DAY)], "it is not valid yet"),
    ([token(nbf=None)], "it has no nbf"),
    ([token(nbf=None, email=None)], "it has no nbf"),
    ([token(**SERVICE | {"email": "anna@example.com"})], "it has no nbf"),
    ([token(**SERVICE | {"iat": None})], "it has no iat"),
    ([token(**SERVICE | {"iat": NOW + DAY})], "it is not valid yet"),
    ([token(aud=["other"])], "it is for another application"),
    ([token(aud=None)], "it has no aud"),
    ([token(aud=[])], ""),
    ([token(aud=[[AUDIENCE]])], ""),
    ([token(iss="https://evil.cloudflareaccess.com")], "it is of another team"),
    ([token(iss=f"{TEAM}/")], "it is of another team"),
    ([token(iss=None)], "it has no iss"),
    ([token(email="", sub="")], "it names nobody"),
    ([token(email=["anna@example.com"], sub="")], "it names nobody"),
]


@pytest.mark.parametrize(("tokens", "why"), REFUSED, ids=[str(n) for n in range(len(REFUSED))])
async def test_any_other_is_refused(program: Program, tokens: list[str], why: str) -> None:
    got = await program.verify(*tokens)
    assert isinstance(got, TokenRefusal)
    assert not why or got.why == why
    assert program.certs.asked <= 1


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.tuples(
            st.dictionaries(st.sampled_from(["alg", "kid", "b64", "typ", "crit"]), st.one_of(
                st.sampled_from(["RS256", "one", "none", True, 1e400, [], {}]), st.integers()
            )),
            st.binary(max_size=300),
        ).map(lambda pair: forged(*pair)),
    )
)  # fmt: skip
def test_whatever_comes_is_refused_without_an_error(written: str) -> None:
    keys = AccessKeys(Current(), lambda: 0.0, lambda: 0.5)
    access = Access(TEAM, AUDIENCE, "http://127.0.0.1:1/")
    team = keys._team_of(access)
    team.keys, team.tried = module._keys(jwt, json.dumps({"keys": JWKS}).encode()), 0.0
    assert isinstance(asyncio.run(keys.verify([written], access)), TokenRefusal)


NONSENSE: list[tuple[str, list[Any]]] = [
    ("exp", [1e400, -1e400, "1", {}, [], True, "x" * 5000, -1]),
    ("nbf", [1e400, 1e30, {}, [], "x" * 5000]),
    ("iat", [1e400, 1e30, {}, [], "x" * 5000]),
    ("aud", [1e400, {}, [], True, 7, [7], ""]),
    ("iss", [1e400, {}, [], [TEAM], True, ""]),
    ("sub", [1e400, {}, [], True]),
]


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        pytest.param(claim, value, id=f"{claim}-{number}")
        for claim, values in NONSENSE
        for number, value in enumerate(values)
    ],
)
async def test_signed_nonsense_is_refused_too(program: Program, claim: str, value: Any) -> None:
    assert isinstance(await program.verify(token(**{claim: value})), TokenRefusal)


# --- where the keys come from ------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        [], [jwk(WEAK, "one")], [jwk(WRONG_CURVE, "one")], [jwk(ONE, None)],
        [jwk(ONE, "one", alg="RS512")], [jwk(ONE, "one", use="enc")], [jwk(ONE, "one", n="!")],
        [jwk(ONE, "one", d="AQAB")], [{"kty": "oct", "kid": "one", "k": "c2VjcmV0"}], ["one"],
        [None], [{}], [{"kty": "RSA", "kid": "one"}], [*["x"] * 32, *JWKS],
    ],
)  # fmt: skip
def test_keys_that_no_token_may_be_signed_with_are_left_out(keys: list[Any]) -> None:
    assert module._keys(jwt, json.dumps({"keys": keys}).encode()) == {}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"{", b'{"keys": {}}', b"\xff", b"<html>"])
def test_an_answer_that_is_none_has_no_keys(body: bytes) -> None:
    assert module._keys(jwt, body) == {}


async def test_without_keys_nobody_comes_in_and_the_fetch_is_tried_again(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    program.certs.status = 503
    assert await program.verify(token()) == TokenRefusal("the team's keys are not known")
    assert await program.verify(token()) == TokenRefusal("the team's keys are not known")
    assert program.certs.asked == 1
    program.after(1)
    program.after(1)
    await program.asked(2)
    program.after(2)
    assert await program.verify(token()) == TokenRefusal("the team's keys are not known")
    program.certs.status = 200
    program.after(2)
    await program.asked(3)
    assert await program.verify(token()) == ANNA
    told = [one.getMessage() for one in caplog.records if one.name == module.__name__]
    assert len(told) == 2
    assert "answered 503; until they come nobody can come in" in told[0]
    assert "are there" in told[1]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""), (302, b""), (200, b"{}"), (200, b'{"keys": []}'), (200, b"<html>"),
        (200, b" " * (LARGEST + 1)), (200, json.dumps({"keys": [jwk(WEAK, "one")]}).encode()),
    ],
)  # fmt: skip
async def test_a_fetch_that_fails_keeps_the_keys(
    program: Program, status: int, body: bytes
) -> None:
    assert await program.verify(token()) == ANNA
    program.certs.status, program.certs.body = status, body
    program.after(EVERY)
    await program.asked(2)
    assert await program.verify(token()) == ANNA


def test_a_server_that_never_answers_holds_nobody_up_for_long() -> None:
    async def work() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Clockwork)
        async with Certs().serving() as certs, asyncio.TaskGroup() as group:
            host, port = httpx.URL(certs.url).host, httpx.URL(certs.url).port
            loop.stage.add((host, port or 0))
            certs.may_answer.clear()
            program = Program(certs)
            task = group.create_task(program.keys.run())
            got = await program.verify(token())
            assert got == TokenRefusal("the team's keys are not known")
            task.cancel()
            return loop.time()

    with asyncio.Runner(loop_factory=Clockwork) as runner:
        assert LIMIT <= runner.run(work()) < 2 * LIMIT


async def test_keys_that_are_no_longer_served_are_dropped(program: Program) -> None:
    assert await program.verify(token()) == ANNA
    program.certs.keys = [jwk(OTHER, "other")]
    assert await program.verify(token()) == ANNA
    program.after(EVERY)
    await program.asked(2)
    assert await program.verify(token()) == TokenRefusal("its key is not the team's")
    assert await program.verify(token(OTHER, "other")) == ANNA


async def test_an_unknown_key_is_looked_for_at_most_once_a_minute(program: Program) -> None:
    new = token(OTHER, "other")
    assert await program.verify(token()) == ANNA
    program.certs.keys.append(jwk(OTHER, "other"))
    for _ in range(20):
        assert isinstance(await program.verify(new), TokenRefusal)
    assert program.certs.asked == 1
    program.now += AGAIN
    assert await program.verify(new) == ANNA
    for _ in range(20):
        assert isinstance(await program.verify(token(OTHER, "third")), TokenRefusal)
    assert program.certs.asked == 2


async def test_all_who_wait_share_one_fetch_and_who_leaves_ends_nothing(program: Program) -> None:
    assert await program.verify(token()) == ANNA
    program.certs.keys = [jwk(OTHER, "other")]
    program.certs.may_answer.clear()
    program.now += AGAIN
    async with asyncio.TaskGroup() as group:
        one, *rest = [group.create_task(program.verify(token(OTHER, "other"))) for _ in range(50)]
        while program.certs.asked < 2:
            await program.certs.arrivals.get()
        assert await program.verify(token()) == ANNA  # whoever has a known key waits for nobody
        one.cancel()
        program.certs.may_answer.set()
    assert [task.result() for task in rest] == [ANNA] * 49
    assert program.certs.asked == 2


async def test_another_team_is_asked_anew_and_its_keys_alone_count(program: Program) -> None:
    assert await program.verify(token()) == ANNA
    async with Certs().serving() as certs:
        certs.keys = [jwk(OTHER, "one")]
        program.access = Access(TEAM, AUDIENCE, certs.url)
        program.configure(program.access)
        assert await program.verify(token()) == TokenRefusal("its signature is wrong")
        assert await program.verify(token(OTHER)) == ANNA
        assert (program.certs.asked, certs.asked) == (1, 1)


async def test_nobody_is_asked_where_access_is_not_configured(program: Program) -> None:
    await program.asked(1)
    program.configure(None)
    program.after(10 * EVERY)
    assert await program.keys._turn() is None
    assert program.certs.asked == 1


def loaded(code: str) -> Iterator[str]:
    """The libraries for tokens that a program has loaded in the end."""
    names = "('jwt', 'cryptography')"
    printed = f"{code}\nimport sys\nprint(*[one for one in {names} if one in sys.modules])"
    root = Path(__file__).resolve().parents[3]
    ended = subprocess.run(
        [sys.executable, "-c", printed], cwd=root, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    yield from ended.stdout.split()


def test_the_library_for_tokens_is_only_loaded_where_access_is_configured() -> None:
    assert not list(loaded("import sidecar.cli.main, sidecar.app, sidecar.control.access"))
    assert "jwt" in list(loaded("from sidecar.control.access import _jwt; _jwt()"))
