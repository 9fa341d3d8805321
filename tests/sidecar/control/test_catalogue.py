"""Lists of models, asked of a real server."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from sidecar.config.secret import Secret
from sidecar.config.snapshot import Backend, Credential, Forward, Quirks
from sidecar.control.catalogue import (
    AFTER_FAILURE,
    EVERY,
    Catalogue,
    Clients,
    Unlisted,
    list_models,
)
from sidecar.runtime.current import Current
from sidecar.runtime.store import RuntimeStore
from sidecar.telemetry.redact import Redactor
from tests.fakes.backend import Backend as Fake
from tests.fakes.backend import closed_port
from tests.fakes.behaviours import Behaviour, Silence, status, whole
from tests.fakes.certificates import Authority
from tests.sidecar.examples import backend, bearer, snapshot

HEADER = Credential("header", "api-key", Secret("k", "env K"))
QUERY = Credential("query", "key", Secret("k", "env K"))


async def listed_by(backend: Backend) -> Mapping[str, str]:
    async with Clients() as clients:
        return await list_models(backend, clients)


@pytest.mark.parametrize(
    ("auth", "target", "header"),
    [
        (None, "/v1/models", ("authorization", None)),
        (bearer("k"), "/v1/models", ("authorization", "Bearer k")),
        (HEADER, "/v1/models", ("api-key", "k")),
        (QUERY, "/v1/models?key=k", ("authorization", None)),
        (Forward(), "/v1/models", ("authorization", None)),
        (Forward(otherwise=bearer("k")), "/v1/models", ("authorization", "Bearer k")),
    ],
)
async def test_the_question_carries_our_own_key(
    auth: Credential | Forward | None, target: str, header: tuple[str, str | None]
) -> None:
    async with Fake(models=("Llama-3", "qwen")) as server:
        listed = await listed_by(backend("p", base_url=server.base_url, auth=auth))
    assert listed == {"llama-3": "Llama-3", "qwen": "qwen"}
    (seen,) = server.others
    assert (seen.method, seen.target) == ("GET", target)
    assert seen.header(header[0]) == header[1]


async def test_quirks_of_path_query_and_header_hold_here_too() -> None:
    quirks = Quirks(path="/v1{path}", query={"api-version": "1"}, header={"x-team": "t"})
    async with Fake() as server:
        base_url = server.base_url.removesuffix("/v1")
        await listed_by(backend("p", base_url=base_url, quirks=quirks))
    (seen,) = server.others
    assert seen.target == "/v1/models?api-version=1"
    assert seen.header("x-team") == "t"


async def test_a_private_authority_is_trusted_where_it_is_configured(tmp_path: Path) -> None:
    authority = Authority()
    pem = authority.write_bundle(tmp_path).read_text()
    async with Fake(tls=authority.server()) as server:
        listed = await listed_by(backend("p", base_url=server.base_url, ca=pem))
        assert listed == {"model-a": "model-a"}
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await listed_by(backend("p", base_url=server.base_url))


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"data": [{"id": "A"}, {"name": "no id"}, 7, {"id": 8}]}', {"a": "A"}),
        (b'[{"id": "A"}]', {"a": "A"}),
        (b'{"data": []}', {}),
    ],
)
async def test_shapes_of_lists(body: bytes, names: dict[str, str]) -> None:
    async with Fake() as server:
        answer_with(server, lambda _: whole(200, body))
        assert await listed_by(backend("p", base_url=server.base_url)) == names


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (status(401), "answered 401"),
        (lambda _: whole(200, b"<html>"), "not JSON"),
        (lambda _: whole(200, b'{"models": []}'), "not a list"),
        (lambda _: whole(200, b" " * 9_000_000), "larger than"),
    ],
)
async def test_what_is_no_list_is_said(behaviour: Behaviour, says: str) -> None:
    async with Fake() as server:
        answer_with(server, behaviour)
        with pytest.raises(Unlisted, match=says):
            await listed_by(backend("p", base_url=server.base_url))


def answer_with(server: Fake, behaviour: Behaviour) -> None:
    server._lookup = lambda seen: behaviour  # type: ignore[method-assign]


class Store(RuntimeStore):
    """Says when a backend has answered."""

    def __init__(self) -> None:
        super().__init__()
        self.learned = asyncio.Event()

    def learn_models(self, backend: Backend, names: Mapping[str, str]) -> None:
        super().learn_models(backend, names)
        self.learned.set()


class Program:
    def __init__(self, *backends: Backend) -> None:
        self.current, self.store, self.now = Current(), Store(), 0.0
        self.configure(*backends)
        self.catalogue = Catalogue(self.current, self.store, Redactor(), lambda: self.now)

    def configure(self, *backends: Backend) -> None:
        configured = snapshot(backends)
        self.store.reconcile(configured)
        self.current.swap(configured)


async def test_a_backend_is_asked_at_once_and_then_now_and_then() -> None:
    async with Fake() as server:
        home = backend("home", base_url=server.base_url)
        program = Program(home)
        assert await program.catalogue.ask_due() == EVERY
        assert program.store.state(home).listed == {"model-a": "model-a"}
        assert await program.catalogue.ask_due() == EVERY
        assert len(server.others) == 1
        program.now = EVERY
        await program.catalogue.ask_due()
        assert len(server.others) == 2


async def test_a_failure_is_asked_again_sooner_and_forgets_nothing() -> None:
    dead = backend("dead", base_url=f"http://127.0.0.1:{closed_port()}/v1")
    async with Fake() as server:
        home = backend("home", base_url=server.base_url)
        program = Program(home, dead)
        program.store.learn_models(dead, {"old": "old"})
        assert await program.catalogue.ask_due() == AFTER_FAILURE
        assert program.store.state(dead).listed == {"old": "old"}
        program.now = AFTER_FAILURE
        await program.catalogue.ask_due()
        assert len(server.others) == 1


async def test_disabled_and_built_in_backends_are_not_asked() -> None:
    async with Fake() as server:
        off = backend("off", base_url=server.base_url, enabled=False)
        program = Program(off, backend("echo", echo=True))
        assert await program.catalogue.ask_due() == EVERY
        assert server.others == []


async def test_a_new_backend_is_asked_when_woken() -> None:
    async with Fake() as server:
        program = Program()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(program.catalogue.run())
            home = backend("home", base_url=server.base_url)
            program.configure(home)
            program.catalogue.wake()
            await asyncio.wait_for(program.store.learned.wait(), 10)
            task.cancel()
        assert program.store.state(home).listed == {"model-a": "model-a"}


async def test_a_silent_backend_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.control.catalogue.TIME_LIMIT", 0.05)
    async with Fake() as server:
        answer_with(server, lambda _: (Silence(),))
        program = Program(backend("home", base_url=server.base_url))
        assert await program.catalogue.ask_due() == AFTER_FAILURE
