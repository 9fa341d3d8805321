"""Cloudflare Access: whether a token was signed by the team, for this application, and for whom.

The team's keys are fetched by one background task: at once, every few hours, soon after a failure,
and when a token names an unknown one, at most once a minute. A fetch that fails changes nothing.
The library for tokens is only imported where Access is configured.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NoReturn

import httpx

from sidecar.config.snapshot import Access
from sidecar.config.trust import trust
from sidecar.policy.backoff import RetrySettings, pause
from sidecar.policy.clients import TokenRefusal, Visitor
from sidecar.runtime.current import Current
from sidecar.wire import json

_log = logging.getLogger(__name__)

EVERY = 6 * 3600.0  # seconds between two fetches while all is well
AGAIN = 60.0  # seconds between two fetches that tokens with unknown keys cause
AFTER_FAILURE = RetrySettings(base=2.0, cap=300.0)
LIMIT = 5.0  # seconds of a fetch
LARGEST = 256 * 1024  # bytes of an answer with keys
MOST_KEYS = 32
LONGEST_TOKEN = 16 * 1024
LONGEST_NAME = 200
LEEWAY = 30.0  # seconds that clocks may differ
WEAKEST = 2048  # bits of an RSA key

_ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
_MALFORMED = TokenRefusal("it is malformed")


class FetchFailed(Exception):
    """The keys could not be had; the message says why."""


@dataclass(frozen=True, slots=True)
class _Key:
    algorithm: str  # the only one that it is good for
    public: Any


@dataclass(slots=True)
class _Team:
    """The keys of one address, and when it was and will be asked."""

    url: str
    keys: Mapping[str, _Key] = field(default_factory=dict)
    tried: float = -math.inf
    due: float = -math.inf
    failures: int = 0
    pending: asyncio.Event | None = None  # set when the fetch that is wanted or under way has ended


class AccessKeys:
    """Owns the team's keys; `run` fetches them, `verify` uses them."""

    def __init__(
        self, current: Current, clock: Callable[[], float], draw: Callable[[], float]
    ) -> None:
        self._current, self._clock, self._draw = current, clock, draw
        self._team: _Team | None = None
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """The configuration has changed."""
        self._woken.set()

    async def run(self) -> NoReturn:
        """Fetch the keys of the configured team whenever it is time, for ever."""
        while True:
            self._woken.clear()
            wait = await self._turn()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._woken.wait()

    async def verify(self, tokens: Sequence[str], access: Access) -> Visitor | TokenRefusal:
        """Whom a request's `Cf-Access-Jwt-Assertion` headers name; their values as they came.

        Waits for keys at most as long as one fetch takes.
        """
        if len(tokens) != 1:
            return TokenRefusal(f"there are {len(tokens)} tokens" if tokens else "there is none")
        token, team = tokens[0].strip(), self._team_of(access)
        if len(token) > LONGEST_TOKEN:
            return TokenRefusal("it is too long")
        if not team.keys and not await self._fetched(team):
            return TokenRefusal("the team's keys are not known")
        import jwt  # whoever has keys has loaded it already

        try:
            header = jwt.get_unverified_header(token)
        except _errors(jwt):
            return _MALFORMED
        name, algorithm = header.get("kid"), header.get("alg")
        if algorithm not in _ALGORITHMS.values():
            return TokenRefusal("its algorithm is not allowed")
        if not isinstance(name, str) or "crit" in header:
            return _MALFORMED
        if name not in team.keys:
            await self._fetched(team)
        key = team.keys.get(name)
        if key is None or key.algorithm != algorithm:
            return TokenRefusal("its key is not the team's")
        return _visitor(jwt, token, key, access)

    def _team_of(self, access: Access) -> _Team:
        if self._team is None or self._team.url != access.certs_url:
            self._team = _Team(access.certs_url)
            self._woken.set()
        return self._team

    async def _fetched(self, team: _Team) -> bool:
        """Wait for one more fetch, which all who wait share; False where it is too soon for one.

        Who leaves meanwhile ends nothing, since the background task does it.
        """
        if team.pending is None:
            if self._clock() < team.tried + AGAIN:
                return False
            team.pending = asyncio.Event()
            self._woken.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * LIMIT):
                await team.pending.wait()
        return bool(team.keys)

    async def _turn(self) -> float | None:
        """Fetch, if it is time; the seconds until the next one, None where there is no team."""
        snapshot = self._current.get()
        access = snapshot.public.access if snapshot is not None and snapshot.public else None
        if access is None:
            self._team = None
            return None
        team = self._team_of(access)
        if team.pending is not None or team.due <= self._clock():
            await self._fetch(team)
        return max(0.0, team.due - self._clock())

    async def _fetch(self, team: _Team) -> None:
        team.tried = self._clock()
        ended = team.pending = team.pending or asyncio.Event()
        try:
            team.keys = await _ask(team.url)
        except FetchFailed as error:
            team.failures += 1
            team.due = self._clock() + pause(team.failures, AFTER_FAILURE, self._draw())
            if team.failures == 1:
                what = "the old ones stay" if team.keys else "until they come nobody can come in"
                _log.warning("the keys of Cloudflare Access could not be had: %s; %s", error, what)
        else:
            if team.failures:
                _log.info("the keys of Cloudflare Access are there")
            team.failures = 0
            team.due = self._clock() + EVERY * (0.9 + self._draw() / 10)
        finally:
            team.pending = None
            ended.set()


def _jwt() -> ModuleType:
    import jwt

    return jwt


def _errors(jwt: ModuleType) -> tuple[type[Exception], ...]:
    """What reading a token from a stranger may raise."""
    return (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError)


async def _ask(url: str) -> Mapping[str, _Key]:
    """The keys at an address, by their ids. Raises FetchFailed."""
    body = bytearray()
    jwt = await asyncio.to_thread(_jwt)
    context = await asyncio.to_thread(trust, None) if url.startswith("https:") else False
    try:
        async with (
            asyncio.timeout(LIMIT),
            # whoever waits limits the whole of it
            httpx.AsyncClient(verify=context, trust_env=False, timeout=None) as client,  # noqa: S113
            client.stream("GET", url, headers={"accept-encoding": "identity"}) as answer,
        ):
            if answer.status_code != 200:
                raise FetchFailed(f"{url} answered {answer.status_code}")
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > LARGEST:
                    raise FetchFailed(f"the answer of {url} is larger than {LARGEST} bytes")
    except TimeoutError:
        raise FetchFailed(f"{url} did not answer within {LIMIT:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        raise FetchFailed(f"{url} cannot be reached ({type(error).__name__})") from error
    keys = _keys(jwt, bytes(body))
    if not keys:
        raise FetchFailed(f"the answer of {url} has no key for RS256 or ES256 in it")
    return keys


def _keys(jwt: ModuleType, body: bytes) -> dict[str, _Key]:
    """The keys of an answer that tokens may be signed with; all others are left out."""
    try:
        found = json.loads(body)
    except json.InvalidJson:
        return {}
    listed = found.get("keys") if isinstance(found, dict) else None
    keys: dict[str, _Key] = {}
    for one in listed[:MOST_KEYS] if isinstance(listed, list) else ():
        if isinstance(one, dict) and isinstance(name := one.get("kid"), str):
            key = _key(jwt, one)
            if key is not None:
                keys.setdefault(name, key)
    return keys


def _key(jwt: ModuleType, described: Mapping[str, object]) -> _Key | None:
    algorithm = _ALGORITHMS.get(str(described.get("kty")))
    if (
        algorithm is None
        or described.get("alg", algorithm) != algorithm
        or described.get("use", "sig") != "sig"
        or (algorithm == "ES256" and described.get("crv") != "P-256")
        or "d" in described  # a private key that is published is nobody's
    ):
        return None
    try:
        public = jwt.PyJWK(dict(described), algorithm=algorithm).key
    except _errors(jwt):
        return None
    if algorithm == "RS256" and public.key_size < WEAKEST:
        return None
    return _Key(algorithm, public)


def _visitor(jwt: ModuleType, token: str, key: _Key, access: Access) -> Visitor | TokenRefusal:
    try:
        claims = jwt.decode(
            token,
            key.public,
            algorithms=[key.algorithm],
            audience=access.audience,
            issuer=access.issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "aud", "iss"]},
        )
    except jwt.ExpiredSignatureError:
        return TokenRefusal("it has expired")
    except (jwt.ImmatureSignatureError, jwt.InvalidIssuedAtError):
        return TokenRefusal("it is not valid yet")
    except jwt.InvalidAudienceError:
        return TokenRefusal("it is for another application")
    except jwt.InvalidIssuerError:
        return TokenRefusal("it is of another team")
    except jwt.InvalidSignatureError:
        return TokenRefusal("its signature is wrong")
    except jwt.MissingRequiredClaimError as error:
        return TokenRefusal(f"it has no {error.claim}")
    except _errors(jwt):
        return _MALFORMED
    email, service = _name(claims, "email"), _name(claims, "common_name")
    # the token of a service only tells when it was made, and names its subject as nothing
    if claims.get("nbf") is None and (email or not service):
        return TokenRefusal("it has no nbf")
    if email:
        return Visitor(email)
    service = service or _name(claims, "sub")
    return Visitor(service, is_service=True) if service else TokenRefusal("it names nobody")


def _name(claims: Mapping[str, object], claim: str) -> str:
    """A claim as it may stand in a log."""
    value = claims.get(claim)
    text = value if isinstance(value, str) else ""
    return "".join(mark if mark.isprintable() else "?" for mark in text[:LONGEST_NAME]).strip()
