"""What a person reads at the start."""

from dataclasses import replace

from sidecar.cli.banner import ECHO, NAME_TO_COME, OPEN, banner, receivers
from sidecar.config.load import load_mapping
from sidecar.config.snapshot import Snapshot
from sidecar.config.zero import discover

HERE = "http://localhost:11434"


def zero(environ: dict[str, str], ollamas: dict[str, tuple[str, ...]] | None = None) -> str:
    found = discover(environ, ollamas or {})
    snapshot = load_mapping(found.data, environ, source="e").snapshot
    return banner(snapshot, "no configuration file", found)


def configured(route: dict[str, object], public: dict[str, object] | None = None) -> Snapshot:
    data = {
        "listeners": {"data": {"port": 5000}, "public": public},
        "backends": {
            "home": {"preset": "ollama"},
            "vllm": {"dialect": "openai", "base_url": "http://vllm.models:8000/v1"},
            "far": {"dialect": "openai", "base_url": "https://8.8.8.8/v1"},
        },
        "routes": {"chat": {"targets": [{"backend": "home"}], **route}},
    }
    return load_mapping(data, {}, source="e").snapshot


def test_what_was_found_and_where_to_point_clients() -> None:
    text = zero({"OPENAI_API_KEY": "sk-hush", "ANTHROPIC_API_KEY": "sk-ant"}, {HERE: ("l3",)})
    for part in (
        "listens on http://127.0.0.1:14400",
        "ollama     http://localhost:11434     l3",
        "https://api.openai.com/v1  gpt-6-luna        OPENAI_API_KEY",
        "Remote services that may now receive prompts: api.openai.com, api.anthropic.com\n",
        "--local-only",
        "https://api.anthropic.com  claude-haiku-5-5  ANTHROPIC_API_KEY",
        "export OPENAI_BASE_URL=http://127.0.0.1:14400/v1",
        "export ANTHROPIC_BASE_URL=http://127.0.0.1:14400 ANTHROPIC_API_KEY=sidecar\n",
        "export OLLAMA_HOST=http://127.0.0.1:14400\n",
        '"model": "auto"',
    ):
        assert part in text
    assert "sk-" not in text
    assert ECHO not in text


def test_the_echo_is_called_so() -> None:
    text = zero({})
    assert ECHO in text
    assert "Prompts stay on this machine" in text


def test_what_was_skipped_is_said() -> None:
    text = zero({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://localhost:14400/v1"})
    assert "OPENAI_BASE_URL points to this sidecar itself: skipped." in text


def test_of_a_file_the_routes_are_told() -> None:
    text = banner(configured({}), "sidecar.yaml")
    assert "http://127.0.0.1:5000 (sidecar.yaml)" in text
    assert "chat   chat    home" in text
    assert '"model": "chat"' in text


def test_who_may_receive_prompts() -> None:
    # a request may name any backend, so all of them count as long as one route is open
    assert receivers(configured({})) == ["vllm.models:8000", "8.8.8.8"]
    assert receivers(configured({"stay": "local"})) == []


def test_an_open_public_listener_is_warned_of() -> None:
    access: dict[str, object] = {"access": {"team": "acme", "audience": "x"}}
    assert OPEN in banner(configured({}, {"i_know_this_is_open": True}), "f.yaml")
    assert OPEN not in banner(configured({}, access), "f.yaml")
    assert OPEN not in banner(configured({}), "f.yaml")


def test_with_a_tunnel_its_name_is_announced() -> None:
    snapshot = configured({})
    assert NAME_TO_COME not in banner(snapshot, "f.yaml")
    assert NAME_TO_COME in banner(replace(snapshot, tunnel=object()), "f.yaml")
