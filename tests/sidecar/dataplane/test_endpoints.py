"""Whose path it is."""

import pytest

from sidecar.dataplane.endpoints import Asked, Endpoints, Exposed
from sidecar.dialects import DIALECTS
from sidecar.wire.contract import Dialect, Operation
from tests.sidecar.dataplane.crossings import ANTHROPIC, OLLAMA, OPENAI, RESPONSES

ENDPOINTS = Endpoints(DIALECTS)
MARKED = {"anthropic-version": "2023-06-01"}
POSTED = [
    (dialect, path, operation)
    for dialect in DIALECTS
    for path, operation in dialect.endpoints.items()
]


def find(path: str, **headers: str) -> Asked:
    return ENDPOINTS.find(path, {name.replace("_", "-"): told for name, told in headers.items()})


@pytest.mark.parametrize("headers", [{}, MARKED])
@pytest.mark.parametrize(("dialect", "path", "operation"), POSTED)
def test_every_endpoint_belongs_to_its_dialect(
    dialect: Dialect, path: str, operation: Operation, headers: dict[str, str]
) -> None:
    assert ENDPOINTS.find(path, headers) == Asked(dialect, operation)


def test_no_two_dialects_have_an_endpoint_in_common() -> None:
    assert len({path for _, path, _ in POSTED}) == len(POSTED)


@pytest.mark.parametrize(
    ("path", "headers", "dialect"),
    [
        ("/v1/models", {}, OPENAI),
        ("/v1/models", MARKED, ANTHROPIC),
        ("/api/tags", {}, OLLAMA),
        ("/api/tags", MARKED, OLLAMA),
        ("/api/ps", {}, OLLAMA),
        ("/api/version", {}, OLLAMA),
        ("/", {}, OLLAMA),
        ("/", MARKED, OLLAMA),
    ],
)
def test_pages(path: str, headers: dict[str, str], dialect: Dialect) -> None:
    page = dialect.listings[path]
    assert ENDPOINTS.find(path, headers) == Asked(dialect, Operation.MODELS, listing=page)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/models/gpt-4o", "gpt-4o"),
        ("/v1/models/org/model:8b", "org/model:8b"),
        ("/v1/models/ ", " "),
    ],
)
@pytest.mark.parametrize(("headers", "dialect"), [({}, OPENAI), (MARKED, ANTHROPIC)])
def test_one_model(path: str, name: str, headers: dict[str, str], dialect: Dialect) -> None:
    assert ENDPOINTS.find(path, headers) == Asked(dialect, Operation.MODELS, model=name)


def test_a_page_that_nobody_shares_needs_no_marker() -> None:
    alone = Endpoints([ANTHROPIC, RESPONSES])
    assert alone.find("/v1/models", {}).dialect is ANTHROPIC
    assert alone.find("/v1/models/m", {}).model == "m"


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/files", OPENAI),
        ("/v1/models/", OPENAI),
        ("/v1/messages/batches", ANTHROPIC),
        ("/v1/responses/resp_1", RESPONSES),
        ("/api/unknown", OLLAMA),
        ("/favicon.ico", OPENAI),
        ("/v1", OPENAI),
        ("", OPENAI),
    ],
)
def test_what_nobody_knows_is_opaque_and_answered_by_whose_ground_it_is(
    path: str, dialect: Dialect
) -> None:
    assert find(path) == Asked(dialect, Operation.OPAQUE)


def test_a_client_that_is_marked_is_answered_in_its_own_words() -> None:
    asked = find("/v1/v1/messages", anthropic_version="1")
    assert asked == Asked(ANTHROPIC, Operation.OPAQUE)


@pytest.mark.parametrize("path", OLLAMA.managing)
def test_what_changes_models_is_told_apart(path: str) -> None:
    managing = Asked(OLLAMA, Operation.OPAQUE, manages=True)
    assert find(path) == managing
    assert find(f"{path}/sha256:1") == managing
    assert find(f"{path}ing") == Asked(OLLAMA, Operation.OPAQUE)


def test_known_paths_are_named_once() -> None:
    paths = ENDPOINTS.paths
    assert len(paths) == len(set(paths))
    assert {"/v1/chat/completions", "/v1/messages", "/api/tags", "/v1/models"} <= set(paths)
    assert "/" not in paths


EXPOSED = Exposed(DIALECTS)


def test_what_is_exposed_is_this_and_nothing_else() -> None:
    """A path that a dialect gets is exposed only by being named here too."""
    exposed = set().union(*(dialect.exposed for dialect in DIALECTS))
    assert exposed == {
        "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/v1/models/",
        "/v1/responses", "/v1/responses/input_tokens", "/v1/messages", "/v1/messages/count_tokens",
        "/api/chat", "/api/generate", "/api/embed", "/api/tags", "/api/show", "/api/version",
    }  # fmt: skip
    for dialect in DIALECTS:
        own = {*dialect.endpoints, *dialect.listings, dialect.model_path}
        assert dialect.exposed <= own, dialect.name


@pytest.mark.parametrize(
    ("path", "method"),
    [
        *(
            (path, "POST")
            for dialect in DIALECTS
            for path in dialect.endpoints
            if path in dialect.exposed
        ),
        *((path, "GET") for one in DIALECTS for path in one.listings if path in one.exposed),
        ("/v1/models/chat", "GET"),
        ("/v1/models/hf.co/some-one/Model_7B:Q4_K_M", "GET"),
        ("/v1/models/", None),
        ("/v1/models/a/", None),
        ("/v1/models/a//b", None),
        ("/v1/models/a/../b", None),
        ("/v1/models/.hidden", None),
        ("/v1/models/a%2fb", None),
        ("/v1/models/a?b", None),
        ("/v1/models/a\nb", None),
        ("/v1/chat/completions/", None),
        ("/V1/chat/completions", None),
        ("/", None),
        ("/api/ps", None),
        ("/api/delete", None),
        ("/v1/files", None),
        ("", None),
    ],
)
def test_an_exposed_path_takes_one_method(path: str, method: str | None) -> None:
    assert EXPOSED.method(path) == method
    if method is not None:
        assert find(path).operation is not Operation.OPAQUE
        assert not find(path).manages
