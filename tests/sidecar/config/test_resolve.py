"""From what people write to the snapshot: cross-checks, corrections, presets."""

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.backends import Surroundings
from sidecar.config.document import Document, parse
from sidecar.config.faults import ConfigError
from sidecar.config.presets import PRESETS
from sidecar.config.resolve import Resolved, resolve
from sidecar.config.snapshot import Backend, Credential, Forward, UsageInStream
from sidecar.dialects import DIALECTS
from sidecar.neutral.problem import ProblemKind
from sidecar.policy.admission import Bounds
from sidecar.policy.breaker import BreakerSettings, RateSettings, SlowSettings
from sidecar.policy.outcome import Disposition
from sidecar.wire.contract import Traits
from tests.fakes.certificates import Authority

ENVIRON = {"KEY": "k1", "OTHER": "k2", "EMPTY": " ", "LINES": "a\nb", "OPENAI_API_KEY": "sk-open"}
FILES: dict[str, bytes | str] = {
    "key": b"from-file\n", "empty": b"\n", "gone": "no such file", "junk.pem": b"junk",
    "binary": b"\xff",
}  # fmt: skip


def run(data: dict[str, Any], files: dict[str, bytes | str] = FILES, **options: Any) -> Resolved:
    return resolve(Document(data), Surroundings(ENVIRON, files), source="f", **options)


def config(backends: Any = None, routes: Any = None, **rest: Any) -> dict[str, Any]:
    if backends is None:
        backends = {"a": {"dialect": "openai", "base_url": "http://10.0.0.1:1/v1"}}
    if routes is None:
        routes = {"r": {"targets": [{"backend": next(iter(backends))}]}}
    return {"backends": backends, "routes": routes, **rest}


def one(**keys: Any) -> dict[str, Any]:
    """A configuration with one backend."""
    return config({"a": {"dialect": "openai", "base_url": "http://10.0.0.1:1/v1", **keys}})


def the_backend(**keys: Any) -> Backend:
    return run(one(**keys)).snapshot.backends["a"]


def told(data: dict[str, Any], **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        run(data, **options)
    return [fault.render("f") for fault in raised.value.faults]


def warned(data: dict[str, Any], **options: Any) -> list[str]:
    return [fault.render("f") for fault in run(data, **options).warnings]


A = {"dialect": "openai", "base_url": "http://10.0.0.1:1/v1"}
OLLAMA = {"preset": "ollama", "dialect": None}
HOME = {"preset": "ollama", "base_url": "http://10.0.0.3:11434"}
B = {"dialect": "openai", "base_url": "http://10.0.0.2:1/v1"}
PUBLIC = {"dialect": "openai", "base_url": "http://8.8.8.8/v1"}


def managed(name: str) -> dict[str, Any]:
    backends = {"a": A, "home": HOME, "off": HOME | {"enabled": False}}
    return config(backends, listeners={"data": {"manage": name}})


def target(*names: str) -> list[dict[str, str]]:
    return [{"backend": name} for name in names]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, ["backends: found no backend", "routes: found no route"]),
        (one(enabled=False), ["only backends that are not enabled", "'a', which is not enabled"]),
        (config({"a": A}, {"r": {"targets": target("b")}}), ["found 'b', expected one of a"]),
        (config({"home": A}, {"r": {"targets": target("hom")}}), ["did you mean 'home'?"]),
        (config({"a": A, "b": B | {"enabled": False}}, {"r": {"targets": target("a", "b")}}),
         ["routes.r.targets[1].backend: found 'b', which is not enabled"]),
        (config({"a": A}, {"r": {"targets": target("a", "a")}}), ["the same target again"]),
        (config({"a": PUBLIC}, {"r": {"targets": target("a"), "stay": "local"}}),
         ["'a', which has a public address"]),
        (config({"a": {"preset": "openai"}}, {"r": {"targets": target("a"), "stay": "local"}}),
         ["'a', which has a public address"]),
        (config({"a": A}, {"r": {"models": ["x"], "targets": target("a")},
                           "s": {"models": ["X"], "targets": target("a")}}),
         ["routes.s.models[0]: found 'X', which route 'r' claims too"]),
        (config({"a": A}, {"r": {"targets": target("a")},
                           "s": {"models": ["R"], "targets": target("a")}}),
         ["found 'R', which route 'r' claims too"]),
        (config({"a": A}, {"r": {"models": ["gpt*"], "targets": target("a")},
                           "s": {"models": ["gpt-4*"], "targets": target("a")}}),
         ["found 'gpt-4*', but 'gpt*' of route 'r' is first"]),
        (config({"a": A}, {"r": {"models": [], "targets": target("a")}}), ["names that clients"]),
        (config({"a": A}, {"r": {"default": True, "targets": target("a")},
                           "s": {"default": True, "targets": target("a")}}),
         ["routes.s.default: found a second route with default: true", "the first is r"]),
        (config({"a": A}, {"r": {"relay": True, "targets": target("a")},
                           "s": {"relay": True, "targets": target("a")}}),
         ["routes.s.relay: found a second route with relay: true"]),
        (config({"a": A, "A": B}), ["'A' beside 'a'"]),
        (config(listeners={"data": {"port": 5000}, "admin": {"port": 5000}}),
         ["listeners.admin.port: found 5000, the port of data too"]),
        (config(listeners={"data": {"bind": "0.0.0.0"}}), ["add i_know_this_is_open: true"]),  # noqa: S104
        (config(listeners={"data": {"bind": "*"}}), ["write 0.0.0.0 for all addresses"]),
        (config(listeners={"control": {"socket": "/x" * 80}}), ["a very long path"]),
        (one(breaker={"rest": "1m", "ceiling": "59s"}),
         ["backends.a.breaker.ceiling: found 59 s, expected at least the rest of 60 s"]),
        (one(breaker={"rest": "10m"}), ["found 300 s, expected at least the rest of 600 s"]),
        (config({"a": {"base_url": "http://x/v1"}}), ["neither preset nor dialect"]),
        (config({"a": {"dialect": "openai"}}), ["backends.a.base_url: found nothing"]),
        (one(base_url="ftp://x"), ["http:// or https://"]),
        (one(base_url="http://u:sk-zzz@x/v1"), ["a URL without credentials"]),
        (one(base_url="http://x/v1?key=sk-zzz"), ["a URL without a query"]),
        (one(base_url="http://localhost:14400/v1"), ["an address of this sidecar itself"]),
        (one(base_url="http://0.0.0.0:14401/v1"), ["an address of this sidecar itself"]),
        (one(auth={"bearer": {"env": "ABCDEF0123456789ABCDEF0123456789"}}),
         ["bearer.env: found a text that looks like a secret (not shown), which is not set"]),
        (one(auth={"bearer": {"env": "NOPE"}}), ["found NOPE, which is not set", "export NOPE="]),
        (one(auth={"bearer": {"env": "EMPTY"}}), ["found nothing in it (env EMPTY)"]),
        (one(auth={"bearer": {"env": "LINES"}}), ["more than one line"]),
        (one(auth={"bearer": {"file": "gone"}}), ["'gone': no such file"]),
        (one(auth={"bearer": {"file": "empty"}}), ["nothing in it (file empty)"]),
        (one(auth={"bearer": {"file": "binary"}}), ["'binary': not text"]),
        (one(auth={"forward": {"else": {"env": "NOPE"}}}), ["forward.else.env: found NOPE"]),
        (one(ca="gone"), ["backends.a.ca: found 'gone': no such file"]),
        (one(ca="junk.pem"), ["junk.pem, which holds no certificate"]),
        (one(quirks={"header": {"Authorization": "x"}}), ["credentials belong in auth"]),
        (one(quirks={"header": {"x-auth-token": "x"}}), ["found the header x-auth-token"]),
        (one(quirks={"header": {"X-Goog-Api-Key": "x"}}), ["credentials belong in auth"]),
        (one(quirks={"header": {"x-client-secret": "x"}}), ["credentials belong in auth"]),
        (one(quirks={"header": {"x-team": "Bearer zzz"}}), ["the header x-team, which"]),
        (one(quirks={"query": {"api_key": "x"}}), ["found the parameter api_key"]),
        (config({"a": {"preset": "azure-openai", "base_url": "https://x.example",
                       "auth": {"bearer": {"env": "KEY"}}}}), ["no deployment"]),
        (config({"a": {"preset": "groq"}}), ["found GROQ_API_KEY, which is not set"]),
        (managed("b"), ["listeners.data.manage: found 'b', expected one of a, home, off"]),
        (managed("hoem"), ["did you mean 'home'?"]),
        (managed("off"), ["listeners.data.manage: found 'off', which is not enabled"]),
        (managed("a"), ["found 'a', which speaks the dialect openai",
                        "expected a backend of the dialect ollama"]),
    ],
)  # fmt: skip
def test_faults(data: dict[str, Any], words: list[str]) -> None:
    text = "\n".join(told(data))
    assert all(word in text for word in words), text
    assert "sk-zzz" not in text


@pytest.mark.parametrize(
    ("keys", "url", "word"),
    [
        ({"base_url": "http://x/v1/"}, "http://x/v1", "'/' at the end"),
        ({"base_url": "http://x/v1/chat/completions"}, "http://x/v1", "'/chat/completions'"),
        ({"base_url": "http://x/v1/chat/completions/"}, "http://x/v1", "'/chat/completions'"),
        (OLLAMA | {"base_url": "http://x:1/v1"}, "http://x:1", "'/v1'"),
        (OLLAMA | {"base_url": "http://x:1/api/chat"}, "http://x:1", "'/api/chat'"),
        (OLLAMA | {"base_url": "http://x:1/v1/chat/completions"}, "http://x:1",
         "'/v1/chat/completions'"),
        ({"dialect": "ollama", "base_url": "http://x:1/v1"}, "http://x:1", "'/v1'"),
        ({"dialect": "ollama", "base_url": "http://x:1/api"}, "http://x:1", "'/api'"),
        ({"dialect": "anthropic", "base_url": "http://x:1/v1"}, "http://x:1", "'/v1'"),
        ({"dialect": "anthropic", "base_url": "http://x:1/v1/messages"}, "http://x:1",
         "'/v1/messages'"),
        ({"dialect": "openai-responses", "base_url": "http://x:1/v1/responses"}, "http://x:1/v1",
         "'/responses'"),
        ({"base_url": "http://x:1"}, "http://x:1", "most servers want http://x:1/v1"),
    ],
)  # fmt: skip
def test_addresses_are_corrected_with_a_warning(keys: dict[str, Any], url: str, word: str) -> None:
    found = run(one(**keys))
    assert found.snapshot.backends["a"].base_url == url
    (warning,) = [fault.render("f") for fault in found.warnings]
    assert word in warning
    assert "warning" in warning


def test_faults_of_all_kinds_come_together() -> None:
    data = config(
        {"a": A | {"modle": "x"}, "b": B | {"auth": {"bearer": {"env": "NOPE"}}}},
        {"r": {"targets": target("c"), "deadline": "soon"}},
        listeners={"admin": {"keys": {}}},
    )
    text = "\n".join(told(data))
    for word in (
        "modle",
        "NOPE",
        "found 'c'",
        "'soon'",
        "checking keys of clients is not built yet",
    ):
        assert word in text


def test_what_follows_from_another_fault_is_not_told() -> None:
    data = config({"a": {"dialect": "opnai", "base_url": "http://x/v1"}, "b b": A},
                  {"r": {"targets": target("a", "b b")}, "s": {"targets": [{}]}})  # fmt: skip
    assert len(told(data)) == 3


def test_a_mistyped_key_is_not_told_as_missing_too() -> None:
    (line,) = told({"backends": {"a": A}, "roots": {"r": {"targets": target("a")}}})
    assert "did you mean 'routes'?" in line


def test_a_backend_that_is_off_needs_no_key() -> None:
    off = B | {"enabled": False, "auth": {"bearer": {"env": "NOPE"}}, "ca": "gone"}
    assert not run(config({"a": A, "b": off})).snapshot.backends["b"].enabled


@pytest.mark.parametrize(
    ("auth", "place", "name", "value"),
    [
        ({"bearer": {"env": "KEY"}}, "bearer", "authorization", "k1"),
        ({"bearer": {"file": "key"}}, "bearer", "authorization", "from-file"),
        ({"header": {"name": "x-key", "value": {"env": "KEY"}}}, "header", "x-key", "k1"),
        ({"query": {"name": "key", "value": {"env": "KEY"}}}, "query", "key", "k1"),
    ],
)
def test_credentials(auth: dict[str, Any], place: str, name: str, value: str) -> None:
    found = run(one(auth=auth)).snapshot
    credential = found.backends["a"].auth
    assert isinstance(credential, Credential)
    assert (credential.place, credential.name, credential.secret.value) == (place, name, value)
    assert found.secrets == (value,)
    assert value not in repr(found)[: repr(found).index("secrets=")]


def test_forwarding() -> None:
    auth = the_backend(auth={"forward": {"replace": ["sk-ant-*"], "else": {"env": "KEY"}}}).auth
    assert isinstance(auth, Forward)
    assert auth.replace == ("sk-ant-*",)
    assert auth.otherwise is not None
    assert auth.otherwise.secret.value == "k1"


@pytest.mark.parametrize(
    ("keys", "place", "name"),
    [
        ({}, "bearer", "authorization"),
        ({"dialect": "anthropic"}, "header", "x-api-key"),
        ({"preset": "anthropic", "dialect": None}, "header", "x-api-key"),
        ({"preset": "azure-openai", "deployment": "d"}, "header", "api-key"),
    ],
)
def test_the_other_key_goes_where_the_vendor_or_else_the_dialect_wants_it(
    keys: dict[str, Any], place: str, name: str
) -> None:
    auth = the_backend(**keys, auth={"forward": {"else": {"env": "KEY"}}}).auth
    assert isinstance(auth, Forward)
    assert auth.otherwise is not None
    assert (auth.otherwise.place, auth.otherwise.name) == (place, name)


@pytest.mark.parametrize(
    ("dialect", "url"),
    [
        ("anthropic", "http://10.0.0.1"), ("ollama", "http://10.0.0.1"),
        ("anthropic", "http://10.0.0.1/api"), ("anthropic", "http://10.0.0.1/anthropic"),
    ],
)  # fmt: skip
def test_what_a_dialect_does_not_ask_for_is_not_missed(dialect: str, url: str) -> None:
    found = run(one(dialect=dialect, base_url=url))
    assert found.snapshot.backends["a"].base_url == url
    assert found.warnings == ()


@pytest.mark.parametrize("dialect", [dialect.name for dialect in DIALECTS])
def test_every_dialect_can_be_configured(dialect: str) -> None:
    assert the_backend(dialect=dialect).dialect.name == dialect


def test_traits_are_the_presets() -> None:
    assert the_backend().traits == Traits()
    assert the_backend(preset="openai").traits == PRESETS["openai"].traits != Traits()


def test_models_are_managed_at_one_backend() -> None:
    assert run(config()).snapshot.manages is None
    assert run(managed("home")).snapshot.manages == "home"


def test_nothing_is_managed_at_a_backend_that_local_only_has_taken_out() -> None:
    far = {"preset": "ollama", "base_url": "http://8.8.8.8"}
    data = config({"a": A, "far": far}, listeners={"data": {"manage": "far"}})
    assert run(data, local_only=True).snapshot.manages is None


def test_small_settings() -> None:
    snapshot = run(one(batch=16) | {"fetch_images": True}).snapshot
    assert (snapshot.backends["a"].batch, snapshot.fetch_images) == (16, True)
    snapshot = run(one()).snapshot
    assert (snapshot.backends["a"].batch, snapshot.fetch_images) == (None, False)


def test_certificates(tmp_path: Path) -> None:
    pem = Authority().write_bundle(tmp_path).read_bytes()
    assert run(one(ca="ca.pem"), {"ca.pem": pem}).snapshot.backends["a"].ca == pem.decode()


def test_times_come_from_the_nearest_place() -> None:
    data = config(
        {"a": A | {"timeouts": {"first_token": "20s", "idle": "7s"}}},
        {"r": {"targets": [{"backend": "a", "first_token": "10s"}]}},
        defaults={"timeouts": {"connect": "1s", "idle": "9s"}},
    )
    limits = run(data).snapshot.routes.routes[0].targets[0].timeouts
    assert (limits.connect, limits.first_token, limits.idle, limits.whole) == (1, 10, 7, 600)


def test_a_route_in_full() -> None:
    data = config(
        None,
        {"r": {"targets": target("a"), "deadline": "90s", "stay": "local", "default": True,
               "relay": True, "listed_first": True, "losses": "strict",
               "on": {"content_refused": "fail_over"},
               "retry": {"attempts": 1, "max_wait": "1s", "backoff": {"base": "1s", "cap": "2s"}}}},
    )  # fmt: skip
    (route,) = run(data).snapshot.routes.routes
    assert route.models == ("r",)
    assert (route.deadline, route.stay_local, route.default) == (90, True, True)
    assert (route.relay, route.listed_first, route.losses_strict) == (True, True, True)
    assert route.on == {ProblemKind.CONTENT_REFUSED: Disposition.FAIL_OVER}
    assert (route.retry.attempts, route.retry.max_wait) == (1, 1)
    assert (route.retry.base, route.retry.cap) == (1, 2)


def test_listeners() -> None:
    snapshot = run(
        config(listeners={"admin": {"bind": "10.0.0.9", "origins": ["HTTP://A/"]}})
    ).snapshot
    assert (snapshot.data.addresses, snapshot.data.port) == (("127.0.0.1", "::1"), 14400)
    assert snapshot.admin.addresses == ("10.0.0.9",)
    assert snapshot.admin.origins == ("http://a",)
    wide = {"data": {"bind": "0.0.0.0", "i_know_this_is_open": True}}  # noqa: S104
    assert run(config(listeners=wide)).snapshot.data.addresses == ("0.0.0.0",)  # noqa: S104


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "azure-openai"])
def test_every_preset_is_enough_by_itself(name: str) -> None:
    key = PRESETS[name].key
    environ = {key.env: "k"} if key else {}
    found = resolve(
        Document(config({"a": {"preset": name}})), Surroundings(environ, {}), source="f"
    )
    backend = found.snapshot.backends["a"]
    assert found.warnings == ()
    assert (backend.auth is not None) == (key is not None)
    assert backend.echo == (name == "echo")
    assert backend.local is (PRESETS[name].key is None)


def test_a_vendors_key_goes_to_the_vendor_only() -> None:
    moved = {"preset": "openai", "base_url": "http://10.0.0.1/v1"}
    assert run(config({"a": moved})).snapshot.backends["a"].auth is None
    assert run(config({"a": {"preset": "openai"}})).snapshot.backends["a"].auth is not None


def test_azure() -> None:
    desk = {"preset": "azure-openai", "base_url": "https://acme.openai.azure.com",
            "deployment": "gpt-4o-mini",
            "auth": {"header": {"name": "api-key", "value": {"env": "KEY"}}}}  # fmt: skip
    backend = run(config({"a": desk})).snapshot.backends["a"]
    assert backend.quirks.path == "/openai/deployments/gpt-4o-mini{path}"
    assert backend.quirks.query == {"api-version": "2024-10-21"}
    assert backend.model == "gpt-4o-mini"


def test_quirks_override_the_preset() -> None:
    mistral = {"preset": "mistral", "auth": {"bearer": {"env": "KEY"}}}
    backend = run(config({"a": mistral})).snapshot.backends["a"]
    assert backend.quirks.usage_in_stream is UsageInStream.ALWAYS
    other = mistral | {"quirks": {"usage_in_stream": "never", "drop": ["seed"]}}
    quirks = run(config({"a": other})).snapshot.backends["a"].quirks
    assert (quirks.usage_in_stream, quirks.drop) == (UsageInStream.NEVER, ("seed",))


def test_local_only_takes_public_addresses_out() -> None:
    data = config(
        {"a": A, "p": PUBLIC, "o": {"preset": "groq"}}, {"r": {"targets": target("p", "o", "a")}}
    )
    found = run(data, local_only=True)
    assert [name for name, one in found.snapshot.backends.items() if one.enabled] == ["a"]
    assert found.snapshot.routes.routes[0].stay_local
    assert len(found.warnings) == 2


def test_local_only_needs_something_local() -> None:
    (line,) = [one for one in told(config({"p": PUBLIC}), local_only=True) if "warning" not in one]
    assert "public addresses only" in line


def test_the_revision_changes_with_all_that_went_in() -> None:
    plain = one(auth={"bearer": {"file": "key"}})
    revisions = {
        run(plain).snapshot.revision,
        run(plain, {"key": b"other"}).snapshot.revision,
        run(one(auth={"bearer": {"env": "KEY"}})).snapshot.revision,
        run(one(auth={"bearer": {"env": "OTHER"}})).snapshot.revision,
    }
    assert len(revisions) == 4
    assert run(plain).snapshot.revision == run(plain).snapshot.revision


def test_the_fingerprint_is_the_target_and_not_its_settings() -> None:
    before = the_backend(auth={"bearer": {"env": "KEY"}}).fingerprint
    same = the_backend(auth={"bearer": {"env": "KEY"}}, quirks={"header": {"x-cache-key": "team"}})
    assert same.fingerprint == before
    assert the_backend(auth={"bearer": {"env": "KEY"}}, model="m").fingerprint == before
    assert the_backend(auth={"bearer": {"env": "OTHER"}}).fingerprint != before
    assert the_backend(base_url="http://10.0.0.1:2/v1").fingerprint != before


def test_the_control_socket() -> None:
    own = run(config(listeners={"control": {"socket": "/run/x.sock"}})).snapshot.control_socket
    assert own == "/run/x.sock"
    environ = {"XDG_RUNTIME_DIR": "/run/user/1"}
    found = resolve(Document(config()), Surroundings(environ, {}), source="f")
    assert found.snapshot.control_socket == "/run/user/1/llm-sidecar/14400.sock"


@pytest.mark.parametrize(
    "written, environ, addresses",
    [
        ({}, {}, ("127.0.0.1",)),
        ({}, {"LLM_SIDECAR_ADMIN_BIND": ""}, ("127.0.0.1",)),
        ({}, {"LLM_SIDECAR_ADMIN_BIND": "10.1.2.3"}, ("10.1.2.3",)),
        ({"port": 9}, {"LLM_SIDECAR_ADMIN_BIND": "fd00::7"}, ("fd00::7",)),
        ({"bind": "loopback"}, {"LLM_SIDECAR_ADMIN_BIND": "10.1.2.3"}, ("127.0.0.1", "::1")),
        (
            {"bind": "${LLM_SIDECAR_ADMIN_BIND}"},
            {"LLM_SIDECAR_ADMIN_BIND": "fd00::7"},
            ("fd00::7",),
        ),
    ],
)
def test_the_environment_may_say_where_probes_come(
    written: dict[str, object], environ: dict[str, str], addresses: tuple[str, ...]
) -> None:
    document = parse(json.dumps(config(listeners={"admin": written})), environ, "f")
    found = resolve(document, Surroundings(environ, {}), source="f").snapshot
    assert found.admin.addresses == addresses
    assert found.data.addresses == ("127.0.0.1", "::1")


def test_a_bad_address_of_the_environment_is_a_fault_of_the_bind() -> None:
    around = Surroundings({"LLM_SIDECAR_ADMIN_BIND": "pod"}, {})
    with pytest.raises(ConfigError, match=r"listeners\.admin\.bind.*'pod'"):
        resolve(Document(config()), around, source="f")


# --- breakers -------------------------------------------------------------------------------------


def test_a_breaker_has_its_defaults() -> None:
    assert the_backend().breaker == BreakerSettings()
    assert the_backend(breaker=None).breaker == BreakerSettings()


def test_a_breaker_as_it_is_written() -> None:
    written = {
        "failures": 3, "rate": {"share": 0.25, "window": "30s", "calls": 8},
        "slow": {"share": 1, "first_token": "2s", "calls": 9}, "rest": "10s", "ceiling": "1m",
        "trials": 1,
    }  # fmt: skip
    assert the_backend(breaker=written).breaker == BreakerSettings(
        failures=3, rate=RateSettings(0.25, 30.0, 8), slow=SlowSettings(1.0, 2.0, 9),
        rest=10.0, ceiling=60.0, trials=1,
    )  # fmt: skip


def test_slow_calls_count_only_where_they_are_named() -> None:
    assert the_backend(breaker={"slow": None}).breaker.slow is None
    assert the_backend(breaker={"slow": {}}).breaker.slow == SlowSettings()


def test_another_breaker_is_still_the_same_target() -> None:
    assert the_backend(breaker={"failures": 1}).fingerprint == the_backend().fingerprint


@pytest.mark.parametrize(("word", "tries"), [("refuse", False), ("try", True)])
def test_what_a_route_does_when_all_are_ejected(word: str, tries: bool) -> None:
    routes = {"r": {"targets": target("a"), "when_all_open": word}}
    found = run(config({"a": A}, routes)).snapshot.routes.routes[0]
    assert found.tries_ejected is tries


# --- how many at once ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "bounds"),
    [
        ({}, Bounds(None)),
        ({"in_flight": 4}, Bounds(4, size=100, wait=30)),
        ({"in_flight": "4", "queue": {"size": 0}}, Bounds(4, size=0, wait=30)),
        ({"in_flight": 1, "queue": {"wait": "2m"}}, Bounds(1, size=100, wait=120)),
    ],
)
def test_bounds(keys: dict[str, Any], bounds: Bounds) -> None:
    assert the_backend(**keys).bounds == bounds
    listening = run(config(listeners={"data": keys})).snapshot
    assert (listening.data.bounds, listening.admin.bounds) == (bounds, Bounds(None))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"in_flight": 0}, "in_flight: found 0"),
        ({"in_flight": 1, "queue": {"size": -1}}, "queue.size: found -1"),
        ({"in_flight": 1, "queue": {"wait": 0}}, "queue.wait: found 0"),
        ({"queue": {"size": 3}}, "queue: found a queue, expected in_flight beside it"),
    ],
)
def test_bounds_that_cannot_be(keys: dict[str, Any], words: str) -> None:
    (backend,) = told(one(**keys))
    assert f"backends.a.{words}" in backend
    (listener,) = told(config(listeners={"data": keys}))
    assert f"listeners.data.{words}" in listener


def test_bounds_are_no_other_target() -> None:
    assert the_backend().fingerprint == the_backend(in_flight=1).fingerprint
