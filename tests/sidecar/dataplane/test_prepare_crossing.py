"""From a request to a call in another dialect: its place, its headers, its key, its losses."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.config.secret import Secret
from sidecar.config.snapshot import Backend, Credential, Forward, Quirks
from sidecar.dataplane.crossing import ChatCrossing, CountCrossing
from sidecar.dataplane.embedding import EmbeddingCrossing
from sidecar.dataplane.intake import Inbound
from sidecar.dataplane.passage import Relay
from sidecar.dataplane.prepare import LONGEST_FIELD, Prepared, check_losses, context, prepare
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.neutral.request import ChatRequest, Loss, Severity
from sidecar.wire import json
from sidecar.wire.contract import Dialect, Feature, Operation
from tests.sidecar.dataplane.crossings import (
    ANTHROPIC,
    HI,
    OLLAMA,
    OPENAI,
    RESPONSES,
    asks,
    there,
)
from tests.sidecar.dataplane.script import candidate, inbound, outbound, prepared, route
from tests.sidecar.examples import bearer

LOST_THINKING = Loss("thinking", Severity.COSMETIC)
VIA = {"x-sidecar-via": "me", "Accept-Encoding": "identity", "Content-Type": "application/json"}


def sent(made: Prepared) -> Any:
    assert isinstance(made.call.body, bytes)
    return json.loads(made.call.body)


def refused(request: Inbound, to: Backend, *, strict: bool = False) -> Problem:
    with pytest.raises(AttemptFailed) as caught:
        on = replace(route(), losses_strict=strict)
        prepare(outbound(request, on), candidate(), to, frozenset())
    problem = caught.value.problem
    assert (problem.kind, problem.code) == (ProblemKind.CANNOT_TRANSLATE, "cannot_translate")
    return problem


# --- where it goes and with what ------------------------------------------------------------------


@pytest.mark.parametrize("client", [OPENAI, RESPONSES, ANTHROPIC, OLLAMA])
@pytest.mark.parametrize(
    ("to", "url"),
    [
        (OPENAI, "http://home.invalid/v1/chat/completions"),
        (RESPONSES, "http://home.invalid/v1/responses"),
        (ANTHROPIC, "http://home.invalid/v1/messages"),
        (OLLAMA, "http://home.invalid/api/chat"),
    ],
)
def test_a_request_goes_where_the_backends_dialect_has_it(
    client: Dialect, to: Dialect, url: str
) -> None:
    made = prepared(asks(client), there(to), "other")
    assert (made.call.method, made.call.url) == ("POST", url)
    assert sent(made)["model"] == "other"
    assert isinstance(made.passage, Relay if client is to else ChatCrossing)
    assert made.passage.dialect is to


@pytest.mark.parametrize(
    ("client", "path"), [(OPENAI, "/v1/completions"), (OLLAMA, "/api/generate")]
)
def test_a_prompt_is_asked_for_as_a_chat(client: Dialect, path: str) -> None:
    raw = b'{"model":"m","prompt":"Once"}'
    request = inbound(raw, dialect=client, operation=Operation.COMPLETION, path=path)
    made = prepared(request, there(ANTHROPIC))
    assert made.call.url.endswith("/v1/messages")
    assert sent(made)["messages"][0]["content"] == "Once"


def test_the_clients_query_is_for_its_own_dialect_only() -> None:
    request = asks(ANTHROPIC, query="beta=true")
    assert prepared(request, there(ANTHROPIC)).call.url.endswith("?beta=true")
    quirks = Quirks(query={"api-version": "1"})
    assert prepared(request, there(OPENAI)).call.url.endswith("/chat/completions")
    assert prepared(request, there(OPENAI, quirks=quirks)).call.url.endswith("?api-version=1")


@pytest.mark.parametrize(
    ("client", "to", "header", "passes"),
    [
        (ANTHROPIC, ANTHROPIC, "anthropic-beta", True),
        (ANTHROPIC, OPENAI, "anthropic-beta", False),
        (ANTHROPIC, OPENAI, "Anthropic-Version", False),
        (ANTHROPIC, OLLAMA, "anthropic-beta", False),
        (OPENAI, ANTHROPIC, "OpenAI-Organization", False),
        (OPENAI, OLLAMA, "openai-beta", False),
        (OPENAI, RESPONSES, "OpenAI-Organization", True),
        (RESPONSES, OPENAI, "openai-beta", True),
        (OPENAI, OPENAI, "anthropic-beta", True),
        (OLLAMA, OPENAI, "x-custom", True),
        (ANTHROPIC, OPENAI, "x-custom", True),
    ],
)
def test_headers_that_only_another_dialect_knows_do_not_pass(
    client: Dialect, to: Dialect, header: str, passes: bool
) -> None:
    made = prepared(asks(client, headers=[(header, "told")]), there(to))
    assert (header in made.call.headers) is passes


def test_a_body_that_was_written_anew_is_json_whatever_the_client_called_its_own() -> None:
    made = prepared(asks(headers=[("content-type", "text/plain")]), there(OLLAMA))
    assert made.call.headers == VIA
    relayed = prepared(asks(headers=[("content-type", "text/plain")]), there(OPENAI))
    assert relayed.call.headers["content-type"] == "text/plain"


@pytest.mark.parametrize(
    ("client", "brought", "quirk", "version"),
    [
        pytest.param(OPENAI, {}, {}, "2023-06-01", id="nobody says"),
        pytest.param(
            ANTHROPIC, {"anthropic-version": "2024-01-01"}, {}, "2024-01-01", id="the client does"
        ),
        pytest.param(ANTHROPIC, {}, {}, "2023-06-01", id="a client that forgot it"),
        pytest.param(
            OPENAI, {}, {"Anthropic-Version": "2025-01-01"}, "2025-01-01", id="the backend does"
        ),
        pytest.param(
            ANTHROPIC,
            {"anthropic-version": "2024-01-01"},
            {"Anthropic-Version": "2025-01-01"},
            "2025-01-01",
            id="the backend's wins",
        ),
    ],
)
def test_a_version_is_always_told(
    client: Dialect, brought: dict[str, str], quirk: dict[str, str], version: str
) -> None:
    request = asks(client, headers=list(brought.items()))
    headers = prepared(request, there(ANTHROPIC, quirks=Quirks(header=quirk))).call.headers
    versions = [told for name, told in headers.items() if name.lower() == "anthropic-version"]
    assert versions == [version]


@pytest.mark.parametrize(
    ("to", "key", "headers"),
    [
        (ANTHROPIC, "sk-ant-api03-1", {"x-api-key": "sk-ant-api03-1"}),
        (ANTHROPIC, "sk-ant-oat01-1", {"Authorization": "Bearer sk-ant-oat01-1"}),
        (OPENAI, "sk-1", {"Authorization": "Bearer sk-1"}),
        (OLLAMA, "sk-1", {"Authorization": "Bearer sk-1"}),
    ],
)
def test_a_forwarded_key_goes_where_the_backend_looks_for_it(
    to: Dialect, key: str, headers: dict[str, str]
) -> None:
    brought = [("Authorization", f"Bearer {key}"), ("x-api-key", key)]
    made = prepared(asks(RESPONSES, headers=brought, key=key), there(to, auth=Forward()))
    assert made.key.forwarded
    places = ("authorization", "x-api-key")
    assert {n: v for n, v in made.call.headers.items() if n.lower() in places} == headers


@pytest.mark.parametrize(
    ("auth", "header", "url_ends"),
    [
        (bearer("k"), "Bearer k", "/v1/messages"),
        (Credential("query", "key", Secret("k", "env K")), None, "/v1/messages?key=k"),
    ],
)
def test_a_configured_key_goes_where_it_is_configured(
    auth: Credential, header: str | None, url_ends: str
) -> None:
    made = prepared(asks(key="mine"), there(ANTHROPIC, auth=auth))
    assert made.call.headers.get("Authorization") == header
    assert made.call.url.endswith(url_ends)
    assert "mine" not in str(made.call.headers)


def test_quirks_bend_what_was_encoded() -> None:
    quirks = Quirks(rename={"max_tokens": "limit"}, drop=("system",), set={"extra": [1]})
    body = {"max_tokens": 9, "messages": [{"role": "system", "content": "Be brief"}, *HI]}
    told = sent(prepared(asks(body=body), there(ANTHROPIC, quirks=quirks)))
    assert (told["limit"], told["extra"]) == (9, [1])
    assert "system" not in told and "max_tokens" not in told


def test_a_feature_that_was_refused_is_left_out() -> None:
    asked = asks(body={"reasoning_effort": "high"})
    assert "think" in sent(prepared(asked, there(OLLAMA)))
    made = prepared(asked, there(OLLAMA), "m", Feature.THINKING)
    assert "think" not in sent(made)
    assert [loss.field for loss in made.losses] == ["thinking"]


def test_a_relayed_request_does_without_a_feature_too() -> None:
    asked = asks(OLLAMA, body={"think": True})
    assert "think" in sent(prepared(asked, there(OLLAMA)))
    made = prepared(asked, there(OLLAMA), "m", Feature.THINKING)
    assert sent(made)["think"] is None and made.losses == (LOST_THINKING,)


def thinks(signature: str) -> dict[str, Any]:
    block = {"type": "thinking", "thinking": "t", "signature": signature}
    turn = {"role": "assistant", "content": [block, {"type": "text", "text": "a"}]}
    return {"max_tokens": 9, "messages": [*HI, turn, *HI]}


MENTIONS = {"max_tokens": 9, "messages": [{"role": "user", "content": "llm-sidecar.openai."}]}


@pytest.mark.parametrize(
    ("body", "without", "losses"),
    [
        pytest.param(thinks("Eq1"), (), (), id="its own"),
        pytest.param(thinks("llm-sidecar.openai.Eq1"), (), (LOST_THINKING,), id="another's"),
        pytest.param(thinks("Eq1"), (Feature.SIGNED_THINKING,), (LOST_THINKING,), id="refused"),
        pytest.param(MENTIONS, (), (), id="words that look like a mark"),
        pytest.param(MENTIONS, (Feature.SIGNED_THINKING,), (), id="nothing to leave out"),
    ],
)
def test_a_relay_tells_that_it_takes_thinking_out(
    body: dict[str, Any], without: tuple[Feature, ...], losses: tuple[Loss, ...]
) -> None:
    made = prepared(asks(ANTHROPIC, body=body), there(ANTHROPIC), "m", *without)
    assert made.losses == losses
    assert ("thinking" in json.dumps(sent(made)["messages"]).decode()) is (
        body is not MENTIONS and not losses
    )


# --- losses ---------------------------------------------------------------------------------------


def test_losses_are_told_with_the_call() -> None:
    made = prepared(asks(body={"seed": 1, "n": 2}), there(ANTHROPIC))
    assert {loss.field for loss in made.losses} >= {"seed", "n"}
    assert prepared(asks(body={"seed": 1, "n": 2}), there(OPENAI)).losses == ()


def test_a_strict_route_loses_nothing_of_the_meaning() -> None:
    problem = refused(asks(body={"n": 2}), there(ANTHROPIC), strict=True)
    assert problem.param == "n"
    assert "`n`" in problem.message and "losses: strict" in problem.message
    on = replace(route(), losses_strict=True)
    lenient = outbound(asks(body={"seed": 1}), on)
    assert prepare(lenient, candidate(), there(ANTHROPIC), frozenset()).losses


def test_what_cannot_be_sent_at_all_is_refused_on_every_route() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    asked = asks(body={"messages": [{"role": "user", "content": [sound]}]})
    problem = refused(asked, there(ANTHROPIC))
    assert problem.param is not None and f"`{problem.param}`" in problem.message
    assert not problem.message.endswith("."), "other words may follow"


def test_a_request_that_cannot_be_read_is_refused_for_this_backend_only() -> None:
    asked = asks(body={"temperature": "hot"})
    problem = refused(asked, there(ANTHROPIC))
    assert problem.param == "temperature" and "temperature" in problem.message
    assert sent(prepared(asked, there(OPENAI)))["temperature"] == "hot"


@pytest.mark.parametrize(
    ("losses", "strict", "field"),
    [
        ([], True, None),
        ([Loss("a", Severity.COSMETIC)], True, None),
        ([Loss("a", Severity.SEMANTIC)], False, None),
        ([Loss("a", Severity.COSMETIC), Loss("b", Severity.SEMANTIC)], True, "b"),
        ([Loss("a", Severity.SEMANTIC), Loss("b", Severity.FATAL, "Why.")], False, "b"),
        ([Loss("x" * 9999, Severity.SEMANTIC)], True, "x" * LONGEST_FIELD),
        ([Loss("x" * 9999, Severity.FATAL, "Why.")], False, "x" * LONGEST_FIELD),
    ],
)
def test_which_losses_are_refused(losses: list[Loss], strict: bool, field: str | None) -> None:
    if field is None:
        check_losses(losses, ANTHROPIC, strict=strict)
        return
    with pytest.raises(AttemptFailed) as caught:
        check_losses(losses, ANTHROPIC, strict=strict)
    assert caught.value.problem.param == field
    assert len(caught.value.problem.message) < 300


# --- what only the client's own dialect has -------------------------------------------------------


def counted() -> Inbound:
    return replace(asks(ANTHROPIC, operation=Operation.COUNT), path="/v1/messages/count_tokens")


def shown() -> Inbound:
    return inbound(b'{"model":"m"}', dialect=OLLAMA, operation=Operation.SHOW, path="/api/show")


@pytest.mark.parametrize(
    ("request_", "url"),
    [
        (counted(), "http://home.invalid/v1/messages/count_tokens"),
        (shown(), "http://home.invalid/api/show"),
    ],
)
def test_counts_and_pages_are_relayed(request_: Inbound, url: str) -> None:
    made = prepared(request_, there(request_.dialect))
    assert isinstance(made.passage, Relay)
    assert (made.call.url, made.call.body) == (url, request_.raw)
    assert sent(prepared(request_, there(request_.dialect), "other"))["model"] == "other"


def test_a_count_crosses_to_a_dialect_that_counts() -> None:
    request = replace(counted(), facts=replace(counted().facts, stream=False))
    made = prepared(request, there(RESPONSES), "other")
    assert made.call.url == "http://home.invalid/v1/responses/input_tokens"
    assert set(sent(made)) <= RESPONSES.counted_fields
    assert sent(made)["model"] == "other" and sent(made)["input"]
    assert isinstance(made.passage, CountCrossing)


@pytest.mark.parametrize("request_", [counted(), shown()])
def test_they_never_become_a_chat(request_: Inbound) -> None:
    assert request_.path in refused(request_, there(OPENAI)).message


@pytest.mark.parametrize(
    ("to", "url"),
    [
        (OPENAI, "http://home.invalid/v1/files/f1?limit=2"),
        (RESPONSES, "http://home.invalid/v1/files/f1?limit=2"),
        (ANTHROPIC, "http://home.invalid/v1/files/f1?limit=2"),
        (OLLAMA, "http://home.invalid/v1/files/f1?limit=2"),
    ],
)
def test_an_opaque_path_is_the_clients_whatever_the_base_url_holds(to: Dialect, url: str) -> None:
    request = inbound(
        b"",
        operation=Operation.OPAQUE,
        model=None,
        method="GET",
        path="/v1/files/f1",
        query="limit=2",
    )
    made = prepared(request, there(to))
    assert (made.call.method, made.call.url, made.call.body) == ("GET", url, None)
    assert isinstance(made.passage, Relay) and made.passage.dialect is to


# --- vectors --------------------------------------------------------------------------------------


def embeds(texts: object, dialect: Dialect = OPENAI, **more: Any) -> Inbound:
    path = "/v1/embeddings" if dialect is OPENAI else "/api/embed"
    raw = json.dumps({"model": "m", "input": texts} | more)
    return inbound(raw, dialect=dialect, operation=Operation.EMBED, path=path)


def test_texts_that_fit_are_relayed() -> None:
    request = embeds(["a", "b"])
    for batch in (None, 2):
        made = prepared(request, there(OPENAI, batch=batch))
        assert made.call.body is request.raw
        assert isinstance(made.passage, Relay) and made.further == ()


def test_more_texts_go_in_batches() -> None:
    made = prepared(embeds(["a", "b", "c"], dimensions=8), there(OPENAI, batch=2), "other")
    assert isinstance(made.passage, EmbeddingCrossing)
    calls = [made.call, *made.further]
    told = [json.loads(call.body) for call in calls if isinstance(call.body, bytes)]
    assert [one["input"] for one in told] == [["a", "b"], ["c"]]
    assert {(one["model"], one["dimensions"]) for one in told} == {("other", 8)}
    assert {call.url for call in calls} == {"http://home.invalid/v1/embeddings"}


def test_what_batches_cannot_say_is_lost_rather_than_the_limit_ignored() -> None:
    made = prepared(embeds(["a", "b", "c"], user="u"), there(OPENAI, batch=2))
    assert len(made.further) == 1
    assert [loss.field for loss in made.losses] == ["user"]


def test_what_only_its_own_dialect_understands_is_relayed_however_much_it_is() -> None:
    request = embeds([[1, 2], [3], [4]])
    assert prepared(request, there(OPENAI, batch=2)).call.body is request.raw


def test_texts_cross() -> None:
    made = prepared(embeds("a", user="u"), there(OLLAMA), "other")
    assert made.call.url == "http://home.invalid/api/embed"
    assert sent(made)["input"] == "a" and sent(made)["model"] == "other"
    assert [loss.field for loss in made.losses] == ["user"]


def test_tokens_cannot_cross() -> None:
    assert refused(embeds([1, 2]), there(OLLAMA)).param == "input"


@pytest.mark.parametrize("to", [ANTHROPIC, RESPONSES])
def test_a_dialect_without_vectors_cannot_be_asked_for_them(to: Dialect) -> None:
    assert "has no embeddings" in refused(embeds("a"), there(to)).message


def test_what_an_answer_is_told_beside_itself() -> None:
    told = context(outbound(asks(), route()), ChatRequest(()), 9, None)
    assert (told.facts.model, told.model, told.estimate) == ("m", "", 9)
    assert (told.created, told.elapsed(), told.new_id()) == (1_700_000_000, 2.5, "new")
