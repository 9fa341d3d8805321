"""Lists of models, asked of a real server."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

import httpx
import pytest

from sidecar.config.secret import Secret
from sidecar.config.snapshot import Backend, Credential, Forward, Quirks
from sidecar.control.catalogue import (
    AFTER_FAILURE,
    EVERY,
    Catalogue,
    Unlisted,
    list_models,
)
from sidecar.control.inquiry import Clients, TooLarge
from sidecar.dialects import by_name
from sidecar.runtime.current import Current
from sidecar.runtime.store import RuntimeStore
from sidecar.telemetry.redact import Redactor
from sidecar.wire import json
from sidecar.wire.contract import ModelEntry
from tests.fakes.answers import dump
from tests.fakes.backend import Backend as Fake
from tests.fakes.backend import refusing_port
from tests.fakes.behaviours import Behaviour, Silence, Steps, status, whole
from tests.fakes.certificates import Authority
from tests.fakes.seen import Seen
from tests.sidecar.examples import backend, bearer, snapshot

ANTHROPIC, OLLAMA = by_name("anthropic"), by_name("ollama")
HEADER = Credential("header", "api-key", Secret("k", "env K"))
QUERY = Credential("query", "key", Secret("k", "env K"))


async def listed_by(backend: Backend) -> list[str]:
    async with Clients() as clients:
        return [entry.id for entry in await list_models(backend, clients)]


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
    assert listed == ["Llama-3", "qwen"]
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
        assert listed == ["model-a"]
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await listed_by(backend("p", base_url=server.base_url))


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"data": [{"id": "A"}, {"no": "id"}, 7, {"id": 8}, {"id": "b"}]}', ["A", "b"]),
        (b'[{"id": "A"}]', ["A"]),  # some vendors leave out the envelope
        (b'{"data": []}', []),
    ],
)
async def test_shapes_of_lists(body: bytes, names: list[str]) -> None:
    async with Fake() as server:
        answer_with(server, lambda _: whole(200, body))
        assert await listed_by(backend("p", base_url=server.base_url)) == names


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (status(401), "answered 401"),
        (lambda _: whole(200, b"<html>"), "not JSON"),
        (lambda _: whole(200, b'{"data": 7}'), "cannot be read"),
        (lambda _: whole(200, b" " * 9_000_000), "larger than"),
    ],
)
async def test_what_is_no_list_is_said(behaviour: Behaviour, says: str) -> None:
    async with Fake() as server:
        answer_with(server, behaviour)
        with pytest.raises((Unlisted, TooLarge), match=says):
            await listed_by(backend("p", base_url=server.base_url))


def answer_with(server: Fake, behaviour: Behaviour) -> None:
    server._lookup = lambda seen: behaviour  # type: ignore[method-assign]


async def test_a_list_is_read_page_by_page() -> None:
    def page(seen: Seen) -> Steps:
        names = ["c"] if "after_id=b" in seen.target else ["a", "b"]
        body = {"data": [{"id": name} for name in names], "has_more": names != ["c"]}
        return whole(200, dump({**body, "last_id": names[-1]}))

    async with Fake() as server:
        answer_with(server, page)
        assert await listed_by(claude(server)) == ["a", "b", "c"]
        assert len(server.others) == 2


async def test_a_list_that_never_ends_is_left() -> None:
    body = b'{"data": [{"id": "a"}], "has_more": true, "last_id": "a"}'
    async with Fake() as server:
        answer_with(server, lambda _: whole(200, body))
        assert set(await listed_by(claude(server))) == {"a"}
        assert len(server.others) == 2


async def test_a_question_has_the_headers_of_its_dialect() -> None:
    async with Fake() as server:
        answer_with(server, lambda _: whole(200, b'{"data": [], "has_more": false}'))
        await listed_by(claude(server))
    (seen,) = server.others
    assert seen.path == "/v1/models"
    assert seen.header("anthropic-version") == "2023-06-01"
    assert seen.header("x-api-key") == "k"


def claude(server: Fake) -> Backend:
    auth = Credential("header", "x-api-key", Secret("k", "env K"))
    return backend("claude", dialect=ANTHROPIC, base_url=root_of(server), auth=auth)


def root_of(server: Fake) -> str:
    return server.base_url.removesuffix("/v1")


def ollama(models: Mapping[str, str], shown: Behaviour) -> Fake:
    """It lists models with their digests, and shows them one by one."""
    server = Fake(rest=shown)
    tags = [{"name": name, "model": name, "digest": digest} for name, digest in models.items()]
    answer_with(server, lambda _: whole(200, dump({"models": tags})))
    return server


def asked_for(server: Fake) -> list[str]:
    assert all(seen.path == "/api/show" for seen in server.requests)
    return [str(json.loads(body)["model"]) for body in server.bodies]


def shown(_: Seen) -> Steps:
    info = {"general.architecture": "llama", "llama.context_length": 8192}
    return whole(200, dump({"capabilities": ["completion", "tools"], "model_info": info}))


async def test_what_a_list_leaves_out_is_asked_model_by_model() -> None:
    async with ollama({"a:8b": "d1", "b": "d2"}, shown) as server:
        home = backend("home", dialect=OLLAMA, base_url=root_of(server))
        program = Program(home)
        await program.catalogue.ask_due()
        entries = program.store.state(home).entries
        assert asked_for(server) == ["a:8b", "b"]
    assert entries is not None
    assert entries["a:8b"].context == 8192
    assert entries["a:8b"].capabilities == frozenset({"completion", "tools"})


async def test_a_model_is_asked_for_again_only_when_it_has_changed() -> None:
    models = {"a": "d1", "b": "d2"}
    async with ollama(models, shown) as server:
        home = backend("home", dialect=OLLAMA, base_url=root_of(server))
        program = Program(home)
        await program.catalogue.ask_due()
        tags = {"models": [{"name": "a", "digest": "d1"}, {"name": "b", "digest": "new"}]}
        answer_with(server, lambda _: whole(200, dump(tags)))
        program.now = EVERY
        await program.catalogue.ask_due()
        assert asked_for(server) == ["a", "b", "b"]
        assert program.store.view(snapshot([home]), "home").context == {"a": 8192, "b": 8192}


@pytest.mark.parametrize(
    "answer", [status(404), lambda _: whole(200, b"<html>"), lambda _: whole(200, b"[]")]
)
async def test_a_list_is_good_even_where_no_model_is_shown(answer: Behaviour) -> None:
    async with ollama({"a": "d1"}, answer) as server:
        home = backend("home", dialect=OLLAMA, base_url=root_of(server))
        program = Program(home)
        assert await program.catalogue.ask_due() == EVERY
        assert program.store.state(home).listed == {"a": "a"}


async def test_models_are_asked_for_no_longer_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ollama({"a": "d1", "b": "d2"}, lambda _: (Silence(),)) as server:
        home = backend("home", dialect=OLLAMA, base_url=root_of(server))
        program = Program(home)
        monkeypatch.setattr("sidecar.control.catalogue.list_models", both)
        monkeypatch.setattr("sidecar.control.catalogue.TIME_LIMIT", 0.05)
        assert await program.catalogue.ask_due() == EVERY
        assert program.store.state(home).listed == {"a": "a", "b": "b"}


async def both(_: Backend, __: Clients) -> list[ModelEntry]:
    return [ModelEntry("a"), ModelEntry("b")]


async def test_only_so_many_models_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.control.catalogue.MOST_SHOWN", 1)
    async with ollama({"a": "d1", "b": "d2"}, shown) as server:
        await Program(backend("home", dialect=OLLAMA, base_url=root_of(server))).catalogue.ask_due()
        assert asked_for(server) == ["a"]


class Store(RuntimeStore):
    """Says when a backend has answered."""

    def __init__(self) -> None:
        super().__init__()
        self.learned = asyncio.Event()

    def learn_models(self, backend: Backend, entries: Iterable[ModelEntry]) -> None:
        super().learn_models(backend, entries)
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
    with refusing_port() as port:
        dead = backend("dead", base_url=f"http://127.0.0.1:{port}/v1")
        async with Fake() as server:
            home = backend("home", base_url=server.base_url)
            program = Program(home, dead)
            program.store.learn_models(dead, [ModelEntry("old")])
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
