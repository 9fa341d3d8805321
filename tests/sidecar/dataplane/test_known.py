"""Answers that no backend is asked for."""

from functools import partial

import pytest

from sidecar.dataplane import known
from sidecar.dataplane.answer import Answer
from sidecar.dataplane.endpoints import Asked, Endpoints
from sidecar.dialects import DIALECTS
from sidecar.neutral.problem import RequestRefused
from sidecar.policy.routing import BackendView, RouteTable
from sidecar.policy.steering import Steering
from sidecar.wire.contract import Dialect, ModelEntry, Operation
from tests.sidecar.dataplane.crossings import ANTHROPIC, OLLAMA, OPENAI
from tests.sidecar.dataplane.exchange import exchange
from tests.sidecar.dataplane.script import inbound, outbound, route
from tests.sidecar.examples import TIMEOUTS

ENTRIES = [ModelEntry("Chat", "llm-sidecar", 1_700_000_000), ModelEntry("llama3:latest")]
STEERING = Steering(
    RouteTable([route()]),
    ("home",),
    lambda name: TIMEOUTS,
    lambda name: BackendView(True, None, {}, {}),
)


def asked(path: str, **headers: str) -> Asked:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Endpoints(DIALECTS).find(path, named)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        (asked("/v1/models"), ["Chat", "llama3:latest"]),
        (asked("/v1/models", anthropic_version="1"), ["Chat", "llama3:latest"]),
    ],
)
async def test_a_page_lists_what_is_on_offer(page: Asked, names: list[str]) -> None:
    answer = await exchange(
        partial(known.tell_models, asked=page, entries=ENTRIES, steering=STEERING),
        dialect=page.dialect,
    )
    assert answer.headers["content-type"] == "application/json"
    assert [one["id"] for one in answer.json()["data"]] == names


async def test_ollamas_page_and_its_greeting() -> None:
    tell = partial(known.tell_models, entries=ENTRIES, steering=STEERING)
    tags = await exchange(partial(tell, asked=asked("/api/tags")), dialect=OLLAMA)
    assert [one["model"] for one in tags.json()["models"]] == ["Chat:latest", "llama3:latest"]
    greeting = await exchange(partial(tell, asked=asked("/")), dialect=OLLAMA)
    assert (greeting.text, greeting.headers["content-type"]) == ("Ollama is running", "text/plain")


@pytest.mark.parametrize("path", ["/", "/api/tags", "/v1/models", "/v1/models/chat"])
async def test_a_page_has_a_head(path: str) -> None:
    page = asked(path)
    tell = partial(known.tell_models, asked=page, entries=ENTRIES, steering=STEERING)
    whole = await exchange(tell, dialect=page.dialect)
    head = await exchange(tell, dialect=page.dialect, method="HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert head.headers["content-length"] == whole.headers["content-length"]


@pytest.mark.parametrize(
    ("name", "found"),
    [("Chat", "Chat"), ("chat", "Chat"), ("LLAMA3", "llama3:latest"), ("chat:latest", "Chat")],
)
@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC])
async def test_one_model_is_found_in_whatever_case(name: str, found: str, dialect: Dialect) -> None:
    one = Asked(dialect, Operation.MODELS, model=name)
    tell = partial(known.tell_models, asked=one, entries=ENTRIES, steering=STEERING)
    assert (await exchange(tell, dialect=dialect)).json()["id"] == found


@pytest.mark.parametrize("name", ["nobody", "", None])
async def test_a_model_that_is_not_on_offer_is_refused(name: str | None) -> None:
    refusals: list[RequestRefused] = []

    async def tell(answer: Answer) -> None:
        with pytest.raises(RequestRefused) as caught:
            await known.tell_model(answer, name, ENTRIES, STEERING)
        refusals.append(caught.value)
        await answer.json({})

    await exchange(tell)
    assert refusals[0].problem.code == "model_not_found"


@pytest.mark.parametrize(
    ("dialect", "body"), [(ANTHROPIC, {"input_tokens": 42}), (OLLAMA, {"prompt_eval_count": 42})]
)
async def test_an_estimate_says_that_it_is_one(dialect: Dialect, body: object) -> None:
    answer = await exchange(partial(known.tell_estimate, tokens=42), dialect=dialect)
    assert answer.json() == body
    assert answer.headers["x-sidecar-estimated"] == "true"


@pytest.mark.parametrize(
    ("operation", "path"), [(Operation.CHAT, "/api/chat"), (Operation.COMPLETION, "/api/generate")]
)
async def test_a_model_of_another_dialect_is_always_loaded(operation: Operation, path: str) -> None:
    request = inbound(b'{"model":"m"}', dialect=OLLAMA, operation=operation, path=path, stream=True)
    told = partial(known.say_ready, outbound=outbound(request, route()))
    answer = (await exchange(told, dialect=OLLAMA)).json()
    assert (answer["model"], answer["done"], answer["done_reason"]) == ("m", True, "load")
    assert answer.get("response", answer.get("message", {}).get("content")) == ""
