"""Reading a configuration's files: one generation, whatever happens to the folder."""

import os
import threading
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import pytest

from sidecar.config import document, load, reading
from sidecar.config.document import Document, parse
from sidecar.config.faults import ConfigError, dotted
from sidecar.config.load import Loaded
from sidecar.config.snapshot import Credential

ISSUE = """\
listeners:
  data:  {port: 14400}            # 127.0.0.1 and ::1
  admin: {port: 14401}
backends:
  home:   {preset: ollama, base_url: http://127.0.0.1:11434}
  openai: {preset: openai, auth: {bearer: {env: OPENAI_API_KEY}}}
  vllm:   {dialect: openai, base_url: http://vllm.models:8000/v1, auth: {bearer: {file: vllm-key}}}
routes:
  chat:
    models: [chat, "gpt-4o*"]     # what clients ask for
    targets:                      # the fallback chain, in order
      - {backend: vllm,   model: qwen2.5-7b, first_token: 10s}
      - {backend: openai, model: gpt-4o-mini}
    retry: {attempts: 2, backoff: {base: 200ms, cap: 5s}}
defaults:
  timeouts: {connect: 3s, first_token: 60s, idle: 30s}
limits: {body: 10MB, messages: 1000, content: 5MB}
"""
SMALL = """\
backends: {{a: {{dialect: openai, base_url: http://10.0.0.1/v1, model: {model}, auth: {{bearer: {{file: {key}}}}}}}}}
routes: {{r: {{targets: [{{backend: a}}]}}}}
"""  # noqa: E501
SHORT = "backends: {a: {preset: echo}}\nroutes: {r: {targets: [{backend: a}]}}\n"


def small(model: str = "m", key: str = "key") -> str:
    return SMALL.format(model=model, key=key)


def secret_of(loaded: Loaded) -> str:
    auth = loaded.snapshot.backends["a"].auth
    assert isinstance(auth, Credential)
    return auth.secret.value


def mount(folder: Path, generation: str) -> None:
    """Swap a generation in as kubelet's AtomicWriter does."""
    new = folder / f"..{generation}"
    new.mkdir()
    (new / "config.yaml").write_text(small(generation))
    (new / "key").write_text(generation)
    for name in ("config.yaml", "key"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    old = os.readlink(folder / "..data") if (folder / "..data").is_symlink() else None
    (folder / "..data_tmp").symlink_to(new.name)
    (folder / "..data_tmp").rename(folder / "..data")
    if old is not None:
        for file in (folder / old).iterdir():
            file.unlink()
        (folder / old).rmdir()


def test_the_file_of_the_readme_loads(tmp_path: Path) -> None:
    (tmp_path / "sidecar.yaml").write_text(ISSUE)
    (tmp_path / "vllm-key").write_text("abc\n")
    loaded = load.load(str(tmp_path / "sidecar.yaml"), {"OPENAI_API_KEY": "sk-1"})
    snapshot = loaded.snapshot
    assert loaded.warnings == ()
    assert loaded.directories == (tmp_path,)
    assert snapshot.data.addresses == ("127.0.0.1", "::1")
    assert (snapshot.data.port, snapshot.admin.port) == (14400, 14401)
    assert list(snapshot.backends) == ["home", "openai", "vllm"]
    (route,) = snapshot.routes.routes
    assert snapshot.routes.match("GPT-4o-mini") is route
    assert [target.model for target in route.targets] == ["qwen2.5-7b", "gpt-4o-mini"]
    assert [target.timeouts.first_token for target in route.targets] == [10, 60]
    assert (snapshot.limits.body, snapshot.limits.content) == (10_000_000, 5_000_000)
    assert set(snapshot.secrets) == {"sk-1", "abc"}


def test_faults_have_places(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(small().replace("model", "modle") + "listeners: {admin: {keys: {}}}\n")
    (tmp_path / "key").write_text("k")
    with pytest.raises(ConfigError) as raised:
        load.load(str(path), {})
    first, second, last = str(raised.value).splitlines()
    assert first.startswith(f"{path}:1:63: backends.a.modle: found the unknown key 'modle'")
    assert "did you mean 'model'?" in first
    assert second.startswith(f"{path}:3:21: listeners.admin.keys: found the key keys")
    assert last == f"{path}: 2 faults"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        # a fault of the text hides no other, and what only follows from it is not told; $NO is
        # a variable that is not set
        ("log: {level: $NO}\nhosts: 1\n" + SHORT, ["log.level", "hosts"]),
        ("backends: {a: {preset: openai, base_url: $NO}}\nroutes: {r: {targets: [{backend: a}]}}",
         ["backends.a.base_url"]),
        ("backends: {a: {preset: ollama, auth: {bearer: {env: $NO}}, modle: x}}\n"
         "routes: {r: {targets: [{backend: a}]}}",
         ["backends.a.auth.bearer.env", "backends.a.modle"]),
        ("backends: {a: {preset: echo}}\nroutes: {r: {targets: [{backend: $NO}, {backend: b}]}}",
         ["routes.r.targets[0].backend"]),
        ("backends: {a: {preset: echo}}\nroutes: {r: {deadline: $NO}}",
         ["routes.r", "routes.r.deadline"]),
        ("backends: {a: {preset: echo}}\nbackends: {b: {preset: ollama, model: 1}}\n"
         "routes: {r: {targets: [{backend: a}, {backend: b}]}}", ["backends", "backends.b.model"]),
        ("backends: {a: {preset: ollama, auth: {bearer: {env: K}}, auth: {query: {name: k, "
         "value: {env: K}}}}}\nroutes: {r: {targets: [{backend: a}]}}", ["backends.a.auth"]),
        ("backends: {a: {preset: echo}}\nroutes: {1: {targets: [{backend: a}]}}", ["routes"]),
        ("backends: {a: {preset: echo}}\nroutes: {r: {models: [$NO], targets: [{backend: a}]},\n"
         "  s: {models: [r], targets: [{backend: a}]}}", ["routes.r.models[0]"]),
        # names are told apart whatever else is wrong with the routes
        ("backends: {a: {preset: echo}}\nroutes: {chat: {models: [chat], "
         "targets: [{backend: a}]},\n  chat2: {models: [CHAT], targets: []}, Chat: 1}",
         ["routes.chat2.models[0]", "routes.chat2.targets", "routes.Chat"]),
    ],
)  # fmt: skip
def test_all_faults_are_told_at_once(tmp_path: Path, text: str, places: list[str]) -> None:
    (tmp_path / "f.yaml").write_text(text.replace("$NO", "'${NO}'"))
    with pytest.raises(ConfigError) as raised:
        load.load(str(tmp_path / "f.yaml"), {"K": "k"})
    assert [dotted(fault.path) for fault in raised.value.faults] == places


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no such file"), (b"\xff\xfe", "0xff at offset 0"), (b"x" * 1_000_001, "a megabyte"),
     (b"a: [", "a mistake in the YAML")],
)  # fmt: skip
def test_files_that_cannot_be_used(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "f.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        load.load(str(path), {})


def test_a_folder_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigError, match="no regular file"):
            load.load(str(path), {})


def test_a_missing_secret_is_a_fault_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(small())
    with pytest.raises(ConfigError, match=r"f\.yaml:1:\d+: backends\.a\.auth\.bearer\.file"):
        load.load(str(path), {})


def test_secrets_elsewhere_are_read_and_watched(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "k").write_text("far")
    path = tmp_path / "conf" / "f.yaml"
    for key in (str(tmp_path / "keys" / "k"), "../keys/k"):
        path.write_text(small(key=key))
        loaded = load.load(str(path), {})
        assert secret_of(loaded) == "far"
        assert loaded.directories == (tmp_path / "conf", tmp_path / "keys")


def test_a_folder_below_is_watched_too(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "k").write_text("near")
    (tmp_path / "f.yaml").write_text(small(key="keys/k"))
    loaded = load.load(str(tmp_path / "f.yaml"), {})
    assert secret_of(loaded) == "near"
    assert loaded.directories == (tmp_path, tmp_path / "keys")


def test_only_references_are_read(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for name in ("ca", "f"):
        (tmp_path / "other" / name).write_text("x")
    text = small().replace("model: m", "models: {ca: other/ca, file: other/f}")
    (tmp_path / "key").write_text("k")
    (tmp_path / "f.yaml").write_text(text)
    loaded = load.load(str(tmp_path / "f.yaml"), {})
    assert loaded.directories == (tmp_path,)
    assert list(loaded.bundle.files) == ["key"]


@pytest.mark.parametrize(
    "auth",
    ["bearer: {file: k}", "header: {name: x-a, value: {file: k}}", "forward: {else: {file: k}}"],
)
def test_references_stand_at_any_depth_of_auth(tmp_path: Path, auth: str) -> None:
    (tmp_path / "k").write_text("deep")
    (tmp_path / "f.yaml").write_text(small().replace("bearer: {file: key}", auth))
    assert load.load(str(tmp_path / "f.yaml"), {}).snapshot.secrets == ("deep",)


def test_a_load_parses_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def counting(text: str, environ: Mapping[str, str], source: str) -> Document:
        parsed.append(text)
        return parse(text, environ, source)

    monkeypatch.setattr(document, "parse", counting)
    mount(tmp_path, "g1")
    load.load(str(tmp_path / "config.yaml"), {})
    (tmp_path / "bad.yaml").write_text("a: 1\na: 2")
    with pytest.raises(ConfigError):
        load.load(str(tmp_path / "bad.yaml"), {})
    assert len(parsed) == 2


def test_what_is_unchanged_need_not_be_loaded_again(tmp_path: Path) -> None:
    mount(tmp_path, "g1")
    loaded = load.load(str(tmp_path / "config.yaml"), {})
    assert load.is_unchanged(loaded)
    assert "g1" not in repr(loaded.bundle)
    mount(tmp_path, "g2")
    assert not load.is_unchanged(loaded)
    loaded = load.load(str(tmp_path / "config.yaml"), {})
    assert load.is_unchanged(loaded)
    (tmp_path / "..g2" / "key").write_text("other")
    assert not load.is_unchanged(loaded)
    (tmp_path / "..g2" / "key").unlink()
    assert not load.is_unchanged(loaded)


def test_plain_data_never_changes() -> None:
    data = {"backends": {"e": {"preset": "echo"}}, "routes": {"r": {"targets": [{"backend": "e"}]}}}
    assert load.is_unchanged(load.load_mapping(data, {}, source="the environment"))


def test_a_variable_may_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(small(key='"${WHERE}"'))
    (tmp_path / "key").write_text("found")
    assert secret_of(load.load(str(tmp_path / "f.yaml"), {"WHERE": "key"})) == "found"


def test_a_mounted_folder_is_read_through_its_generation(tmp_path: Path) -> None:
    mount(tmp_path, "g1")
    assert secret_of(load.load(str(tmp_path / "config.yaml"), {})) == "g1"
    mount(tmp_path, "g2")
    loaded = load.load(str(tmp_path / "config.yaml"), {})
    assert secret_of(loaded) == loaded.snapshot.backends["a"].model == "g2"
    assert loaded.directories == (tmp_path,)


def test_a_file_beside_the_generation_is_found_too(tmp_path: Path) -> None:
    mount(tmp_path, "g1")
    (tmp_path / "key").unlink()
    (tmp_path / "..g1" / "key").unlink()
    (tmp_path / "key").write_text("beside")
    assert secret_of(load.load(str(tmp_path / "config.yaml"), {})) == "beside"


def test_a_swap_in_between_reads_everything_again(tmp_path: Path) -> None:
    mount(tmp_path, "g1")
    swaps = iter(["g2"])

    def references(_: bytes) -> list[str]:
        for generation in swaps:
            mount(tmp_path, generation)
        return ["key"]

    bundle = reading.read(str(tmp_path / "config.yaml"), references)
    assert bundle.text == small("g2").encode()
    assert bundle.files == {"key": b"g2"}


def test_a_folder_that_never_rests_is_a_fault(tmp_path: Path) -> None:
    mount(tmp_path, "g0")
    numbers = count(1)

    def references(_: bytes) -> list[str]:
        mount(tmp_path, f"g{next(numbers)}")
        return ["key"]

    bundle = reading.read(str(tmp_path / "config.yaml"), references)
    assert bundle.text == "a folder that changes faster than it can be read"


def test_generations_never_mix(tmp_path: Path) -> None:
    mount(tmp_path, "g0")
    done = threading.Event()

    def swap() -> None:
        for number in range(1, 200):
            mount(tmp_path, f"g{number}")
        done.set()

    swapping = threading.Thread(target=swap)
    swapping.start()
    read = 0
    while not done.is_set() or not read:
        try:
            loaded = load.load(str(tmp_path / "config.yaml"), {})
        except ConfigError:
            continue  # swapped away four times in a row: a later reload finds it
        assert secret_of(loaded) == loaded.snapshot.backends["a"].model
        read += 1
    swapping.join()


def test_a_control_socket_stands_beside_its_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf" / "f.yaml"
    path.write_text("listeners: {control: {socket: run/c.sock}}\n" + SHORT)
    monkeypatch.chdir(tmp_path)
    for name in (str(path), "conf/f.yaml"):
        expected = str(tmp_path / "conf" / "run" / "c.sock")
        assert load.load(name, {}).snapshot.control_socket == expected
        assert load.doors(name, {}).control_socket == expected
    path.write_text("listeners: {control: {socket: /run/c.sock}}\n" + SHORT)
    assert load.doors(str(path), {}).control_socket == "/run/c.sock"


def test_plain_data_goes_the_same_road() -> None:
    data = {"backends": {"e": {"preset": "echo"}}, "routes": {"r": {"targets": [{"backend": "e"}]}}}
    loaded = load.load_mapping(data, {}, source="the environment")
    assert loaded.snapshot.backends["e"].echo
    with pytest.raises(ConfigError, match=r"the environment: backends: found no backend"):
        load.load_mapping({}, {}, source="the environment")


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("listeners: {data: {port: 5001}, admin: {port: 5002}}\nnonsense: 1", (5001, 5002)),
        ("listeners: {data: {port: 5001, bind: 0.0.0.0}}", (14400, 14401)),
        ("listeners: {data: {port: x}, admin: {port: 5002}}", (14400, 5002)),
        (
            "listeners: {data: {port: 5001}, admin: {port: 5002}}\na: ${NO}\nb: 1\nb: 2",
            (5001, 5002),
        ),
        ("listeners: {data: {port: 5001}}\nlisteners: {admin: {port: 5002}}", (5001, 5002)),
        ("a: [", (14400, 14401)),
        ("a: [\nlisteners:\n  data:\n\n    port: 5001\n  admin: {port: 5002}\nb: {", (5001, 5002)),
        ("a: [\nlisteners: {data: {port: 5001}, admin: {port: 5002}}", (5001, 5002)),
        ("listeners: {data: {port: 5001\nb: 1", (14400, 14401)),
    ],
)
def test_a_broken_file_may_still_say_where_to_listen(
    tmp_path: Path, text: str, ports: tuple[int, int]
) -> None:
    (tmp_path / "f.yaml").write_text(text)
    environ = {"XDG_RUNTIME_DIR": "/run"}
    doors = load.doors(str(tmp_path / "f.yaml"), environ)
    assert (doors.data.port, doors.admin.port) == ports
    assert doors.data.addresses == ("127.0.0.1", "::1")
    assert doors.control_socket == f"/run/llm-sidecar/{ports[0]}.sock"
