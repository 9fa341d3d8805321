"""The names on offer, and what is told of each."""

import pytest

from sidecar.policy.backoff import RetrySettings
from sidecar.policy.routing import Route, Target
from sidecar.runtime.offer import entries, entry
from sidecar.runtime.store import RuntimeStore
from sidecar.wire.contract import ModelEntry
from tests.sidecar.examples import TIMEOUTS, backend, snapshot

BORN = 1_700_000_000
HOME = backend("home", models={"small": "Llama"}, context={"Fixed": 4096})
FAR = backend("far")
LLAMA = ModelEntry("Llama", "library", 5, 8192, 2048, frozenset({"tools"}), "llama", "8.0B")
GPT = ModelEntry("gpt", "system", 6, 1000)


def chain(name: str, *targets: tuple[str, str | None], models: tuple[str, ...] = ()) -> Route:
    links = tuple(Target(backend, model, TIMEOUTS) for backend, model in targets)
    return Route(name, models or (name,), links, RetrySettings())


def offer(*routes: Route, **listed: list[ModelEntry]) -> dict[str, ModelEntry]:
    store, configured = RuntimeStore(), snapshot([HOME, FAR], routes)
    store.reconcile(configured)
    for name, told in listed.items():
        store.learn_models(configured.backends[name], told)
    return {one.id: one for one in entries(configured, configured.routes, store, BORN)}


def test_a_name_is_described_as_its_first_target_that_is_known() -> None:
    found = offer(chain("chat", ("far", "new"), ("home", "llama")), home=[LLAMA], far=[GPT])
    assert found == {
        "chat": ModelEntry(
            "chat", "llm-sidecar", BORN, 8192, 2048, frozenset({"tools"}), "llama", "8.0B"
        )
    }


def test_a_name_is_described_as_what_the_backend_calls_it() -> None:
    assert offer(chain("small", ("home", None)), home=[LLAMA])["small"].parameters == "8.0B"


def test_nothing_is_invented_of_what_nobody_told() -> None:
    assert offer(chain("chat", ("far", "new"))) == {"chat": ModelEntry("chat", "llm-sidecar", BORN)}


@pytest.mark.parametrize("told", [[], [ModelEntry("Fixed", context=9)]])
def test_the_file_is_right_about_a_context(told: list[ModelEntry]) -> None:
    assert offer(chain("chat", ("home", "Fixed")), home=told)["chat"].context == 4096


def test_a_pattern_offers_what_its_backends_list() -> None:
    found = offer(chain("any", ("home", None), ("far", None), models=("*",)), far=[GPT])
    assert found["gpt"].context == 1000
    assert set(found) == {"gpt", "small"}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("CHAT", "chat"), ("llama", "Llama:latest"), ("llama:LATEST", "Llama:latest"),
        ("qwen:latest", "qwen"), ("chat:8b", None), ("", None),
    ],
)  # fmt: skip
def test_one_of_a_name(asked: str, found: str | None) -> None:
    known = [ModelEntry("chat"), ModelEntry("Llama:latest"), ModelEntry("qwen")]
    one = entry(asked, known)
    assert (one.id if one else None) == found
