"""What the environment offers without a configuration file."""

from typing import Any

import pytest

from sidecar.config.address import key_for
from sidecar.config.load import Loaded, load_mapping
from sidecar.config.snapshot import Credential
from sidecar.config.zero import Discovery, discover, ollama_addresses, ollama_url

HERE = "http://localhost:11434"


def look(environ: dict[str, str], ollamas: Any = None, **options: Any) -> Discovery:
    return discover(environ, ollamas or {}, **options)


def loaded(environ: dict[str, str], ollamas: Any = None, **options: Any) -> Loaded:
    found = look(environ, ollamas, **options)
    return load_mapping(
        found.data, environ, source="e", local_only=options.get("local_only", False)
    )


@pytest.mark.parametrize(
    ("environ", "name", "url", "key", "model"),
    [
        ({"OPENAI_API_KEY": "k"}, "openai", "https://api.openai.com/v1", "k", "gpt-6-luna"),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://box/v1/", "OPENAI_MODEL": "m"},
         "openai", "http://box/v1", "k", "m"),
        ({"ANTHROPIC_API_KEY": "k"}, "anthropic", "https://api.anthropic.com", "k",
         "claude-haiku-5-5"),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://box", "ANTHROPIC_MODEL": "m"},
         "anthropic", "http://box", "k", "m"),
        ({"QWEN_API_KEY": "q", "DASHSCOPE_API_KEY": "d"}, "qwen",
         "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "q", "qwen-plus"),
        ({"DASHSCOPE_API_KEY": "d", "QWEN_BASE_URL": "http://box/v1", "QWEN_MODEL": "m"}, "qwen",
         "http://box/v1", "d", "m"),
        ({"MISTRAL_API_KEY": "k"}, "mistral", "https://api.mistral.ai/v1", "k",
         "mistral-small-latest"),
        ({"CUSTOM_BACKEND_1_API_URL": "http://box/v1", "CUSTOM_BACKEND_1_API_KEY": "k",
          "CUSTOM_BACKEND_1_MODEL": "m"}, "custom-1", "http://box/v1", "k", "m"),
        ({"CUSTOM_BACKEND_1_API_URL": "http://box/v1"}, "custom-1", "http://box/v1", None, None),
        ({"BACKEND_URL": "http://box/v1", "BACKEND_KEY": "k"}, "backend", "http://box/v1", "k",
         None),
        ({"BACKEND_URL": "http://box/v1/chat/completions"}, "backend", "http://box/v1", None, None),
        ({"BACKEND_URL": "http://box/chat/completions"}, "backend", "http://box", None, None),
        ({"BACKEND_URL": "http://box:8000"}, "backend", "http://box:8000/v1", None, None),
    ],
)  # fmt: skip
def test_what_is_found(
    environ: dict[str, str], name: str, url: str, key: str | None, model: str | None
) -> None:
    found = loaded(environ)
    (backend,) = found.snapshot.backends.values()
    assert (backend.name, backend.base_url, backend.model) == (name, url, model)
    value = backend.auth.secret.value if isinstance(backend.auth, Credential) else None
    assert value == key


def test_limits_of_custom_backends() -> None:
    environ = {
        "CUSTOM_BACKEND_1_API_URL": "http://a/v1", "CUSTOM_BACKEND_1_REQUEST_TIMEOUT": "2500",
        "BACKEND_URL": "http://b/v1", "BACKEND_TIMEOUT_SECS": "45",
    }  # fmt: skip
    backends = loaded(environ).snapshot.backends
    assert backends["custom-1"].timeouts.whole == backends["custom-1"].timeouts.first_token == 2.5
    assert backends["backend"].timeouts.whole == backends["backend"].timeouts.first_token == 45


def test_the_order_and_the_one_route() -> None:
    environ = {
        "BACKEND_URL": "http://b/v1", "CUSTOM_BACKEND_2_API_URL": "http://c/v1",
        "CUSTOM_BACKEND_1_API_URL": "http://d/v1", "MISTRAL_API_KEY": "k", "QWEN_API_KEY": "k",
        "OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k",
    }  # fmt: skip
    snapshot = loaded(environ, {HERE: ("llama3.2:3b", "other")}).snapshot
    (route,) = snapshot.routes.routes
    assert [target.backend for target in route.targets] == [
        "ollama", "openai", "anthropic", "qwen", "mistral", "custom-1", "custom-2", "backend",
    ]  # fmt: skip
    assert (route.name, route.models, route.default, route.listed_first) == (
        "default", ("*",), True, True,
    )  # fmt: skip
    assert snapshot.backends["ollama"].model == "llama3.2:3b"


@pytest.mark.parametrize(
    ("environ", "note"),
    [
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://localhost:14400/v1"},
         "OPENAI_BASE_URL points to this sidecar itself"),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://0.0.0.0:14401/v1"},
         "OPENAI_BASE_URL points to this sidecar itself"),
        ({"OPENAI_BASE_URL": "http://[::1]:14400/v1"}, "points to this sidecar itself"),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://localhost:14400"},
         "ANTHROPIC_BASE_URL points to this sidecar itself"),
        ({"ANTHROPIC_BASE_URL": "http://box"}, "ANTHROPIC_API_KEY is not: skipped"),
        ({"OLLAMA_HOST": "http://127.0.0.1:14400"}, "OLLAMA_HOST points to this sidecar itself"),
        ({"BACKEND_URL": "http://127.1:14400/v1"}, "BACKEND_URL points to this sidecar itself"),
        ({"OPENAI_BASE_URL": "http://box/v1"}, "OPENAI_API_KEY is not: skipped"),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "box"}, "OPENAI_BASE_URL is not a URL"),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://u:p@box/"}, "without credentials"),
        ({"OPENAI_API_KEY": "a b"}, "OPENAI_API_KEY does not hold a key"),
        ({"OPENAI_API_KEY": "schlüssel"}, "OPENAI_API_KEY does not hold a key"),
        ({"CUSTOM_BACKEND_1_API_URL": "::"}, "CUSTOM_BACKEND_1_API_URL is not a URL"),
        ({"CUSTOM_BACKEND_3_MODEL": "m"}, "CUSTOM_BACKEND_3_API_URL is not set"),
        ({"CUSTOM_BACKEND_1_URL": "http://x"}, "CUSTOM_BACKEND_1_URL is not known"),
        ({"CUSTOM_BACKEND_01_API_URL": "http://x"}, "CUSTOM_BACKEND_01_API_URL is not known"),
        ({"OLLAMA_HOST": "http://[::1"}, "OLLAMA_HOST is not an address"),
        ({"OLLAMA_HOST": "box"}, "No Ollama answers at http://box:11434"),
        ({"BACKEND_KEY": "k"}, "BACKEND_URL is not: skipped"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_skipped_and_said(environ: dict[str, str], note: str) -> None:
    found = look(environ)
    assert found.echo
    assert any(note in one for one in found.notes), found.notes


@pytest.mark.parametrize(
    ("environ", "note"),
    [
        ({"BACKEND_URL": "http://box/v1/chat/completions"}, "trimmed to http://box/v1"),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://box/v1/messages"},
         "ANTHROPIC_BASE_URL names a whole endpoint; trimmed to http://box"),
        ({"BACKEND_URL": "http://box"}, "has no path: http://box/v1 is asked"),
        ({"BACKEND_URL": "http://b/v1", "BACKEND_TIMEOUT_SECS": "soon"}, "number of seconds"),
        ({"BACKEND_URL": "http://b/v1", "BACKEND_TIMEOUT_SECS": "99999999"}, "number of seconds"),
        ({"BACKEND_URL": "http://b/v1", "BACKEND_TIMEOUT_SECS": "-1"}, "number of seconds"),
        ({"CUSTOM_BACKEND_1_API_URL": "http://a/v1", "CUSTOM_BACKEND_3_API_URL": "http://b/v1"},
         "CUSTOM_BACKEND_ goes 1, 3: a number is missing"),
    ],
)  # fmt: skip
def test_what_is_used_with_a_note(environ: dict[str, str], note: str) -> None:
    found = look(environ)
    assert not found.echo
    assert any(note in one for one in found.notes), found.notes
    assert loaded(environ).warnings == ()


def test_each_is_spoken_to_in_its_own_dialect() -> None:
    environ = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "BACKEND_URL": "http://b/v1"}
    backends = loaded(environ, {HERE: ("m",)}).snapshot.backends
    assert {name: one.dialect.name for name, one in backends.items()} == {
        "ollama": "ollama", "openai": "openai", "anthropic": "anthropic", "backend": "openai",
    }  # fmt: skip
    assert key_for(backends["anthropic"], None).headers == {"x-api-key": "k"}
    assert key_for(backends["openai"], None).headers == {"Authorization": "Bearer k"}


def test_an_own_address_leaves_the_local_ollama() -> None:
    environ = {"OLLAMA_HOST": "http://127.0.0.1:14400"}
    assert ollama_addresses(environ) == [HERE]
    assert [one.name for one in look(environ, {HERE: ("m",)}).found] == ["ollama"]


def test_an_ollama_without_models_is_told_how_to_get_one() -> None:
    assert "ollama pull" in look({}, {HERE: ()}).notes[0]


def test_the_echo_answers_only_where_it_may() -> None:
    assert loaded({}).snapshot.backends["echo"].echo
    assert look({}, allow_echo=False).data == {"version": 1}
    assert not look({"MISTRAL_API_KEY": "k"}).echo


def test_local_only_skips_what_is_public() -> None:
    environ = {
        "OPENAI_API_KEY": "k", "BACKEND_URL": "http://8.8.8.8/v1",
        "CUSTOM_BACKEND_1_API_URL": "http://10.0.0.1/v1",
    }  # fmt: skip
    found = look(environ, local_only=True)
    assert [one.name for one in found.found] == ["custom-1"]
    assert len(found.notes) == 2
    assert loaded(environ, local_only=True).snapshot.routes.routes[0].stay_local


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("box", "http://box:11434"), ("box:1234", "http://box:1234"),
        ("http://box:1234", "http://box:1234"), ("http://box:1234/", "http://box:1234"),
        ("0.0.0.0", "http://127.0.0.1:11434"), ("0.0.0.0:5", "http://127.0.0.1:5"),  # noqa: S104
        ("http://0.0.0.0:11434", "http://127.0.0.1:11434"), (":5", "http://127.0.0.1:5"),
        ("https://box", "https://box:443"), ("http://box", "http://box:80"),
        ("[::1]:5", "http://[::1]:5"), ("::1", "http://[::1]:11434"),
        ("https://box/ollama", "https://box:443/ollama"),
    ],
)  # fmt: skip
def test_ollama_host(written: str, url: str) -> None:
    assert ollama_url(written) == url


def test_keys_are_referred_to_and_never_copied() -> None:
    environ = {"OPENAI_API_KEY": "sk-one", "BACKEND_URL": "http://b/v1", "BACKEND_KEY": "sk-two"}
    assert "sk-" not in repr(look(environ))
