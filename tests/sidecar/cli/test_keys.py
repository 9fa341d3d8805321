"""`llm-sidecar keys`: what it prints, what it writes, and what it never writes down."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.cli import source as sources
from sidecar.cli.main import main
from sidecar.config.client_keys import parse
from sidecar.config.load import load
from sidecar.policy.clients import whose

CONFIG = """\
backends: {a: {dialect: openai, base_url: http://10.0.0.1/v1}}
routes: {r: {public: true, targets: [{backend: a}]}}
listeners: {public: {keys: {file: sub/clients}}}
"""
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, where nothing outside is found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLM_SIDECAR_CONFIG", raising=False)
    monkeypatch.setattr(sources, "USUAL_PLACES", ("./sidecar.yaml",))
    (tmp_path / "sub").mkdir()
    return tmp_path


def add(capsys: Captured, name: str, *more: str) -> tuple[str, str]:
    """The key that was made, and what was said beside it."""
    assert main(["keys", "add", name, *more]) == 0
    said = capsys.readouterr()
    return said.out.removesuffix("\n"), said.err


def test_a_key_is_shown_once_and_only_its_digest_is_kept(folder: Path, capsys: Captured) -> None:
    key, said = add(capsys, "laptop")
    assert re.fullmatch(r"sk-sidecar-[\w-]{43}", key)
    assert "not shown again" in said
    assert "(sidecar.yaml):\n  listeners: {public: {keys: {file: keys.txt}}}" in said
    assert "of a gateway do:\n  listeners: {data: {keys: {file: keys.txt}}}" in said
    written = (folder / "keys.txt").read_bytes()
    assert key.encode() not in written
    assert key not in said
    (line,) = parse(written).lines
    assert (line.key.name, bool(re.fullmatch(r"\d{4}-\d\d-\d\d", line.note))) == ("laptop", True)
    assert whose([("x-api-key", key)], [line.key]) == "laptop"
    assert stat.S_IMODE((folder / "keys.txt").stat().st_mode) == 0o600


@pytest.mark.parametrize("file", ["sub/clients", "sub/apps"])
def test_either_listener_may_name_the_file(folder: Path, capsys: Captured, file: str) -> None:
    data = "data: {keys: {file: sub/apps}}"
    (folder / "sidecar.yaml").write_text(CONFIG.replace("{public:", f"{{{data}, public:"))
    assert "takes it up by itself" in add(capsys, "shop", "--file", file)[1]
    (folder / "sidecar.yaml").write_text(f"listeners: {{{data}}}")
    assert "takes it up by itself" in add(capsys, "desk")[1]
    assert b"desk" in (folder / "sub/apps").read_bytes()


def test_from_nothing_to_a_configuration_that_loads(folder: Path, capsys: Captured) -> None:
    file = folder / "sidecar.yaml"
    file.write_text(CONFIG)
    assert main(["check", "sidecar.yaml"]) == 78
    assert "`llm-sidecar keys add NAME`" in capsys.readouterr().out
    key, said = add(capsys, "laptop")
    assert "takes it up by itself" in said
    public = load(str(file), {}).snapshot.public
    assert public is not None
    assert whose([("Authorization", f"Bearer {key}")], public.keys or ()) == "laptop"


@pytest.mark.parametrize(
    ("arguments", "path", "hint"),
    [
        ([], "keys.txt", "file: keys.txt"),
        (["--file", "mine"], "mine", "file: mine"),
        (["--config", "c/other.yaml"], "c/keys.txt", "(c/other.yaml):"),
        (["--config", "c/named.yaml"], "c/sub/clients", "takes it up by itself"),
        (["--config", "c/named.yaml", "--file", "c/sub/clients"], "c/sub/clients", "by itself"),
        (["--config", "c/named.yaml", "--file", "mine"], "mine", f"file: {os.sep}"),
    ],
)
def test_where_the_file_is(
    folder: Path, capsys: Captured, arguments: list[str], path: str, hint: str
) -> None:
    (folder / "c/sub").mkdir(parents=True)
    (folder / "c/other.yaml").write_text("log: {level: debug}\n")
    (folder / "c/named.yaml").write_text(CONFIG)
    _, said = add(capsys, "laptop", *arguments)
    assert hint in said
    assert [one.name for one in parse((folder / path).read_bytes()).keys] == ["laptop"]


def test_the_configuration_in_the_environment_counts(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "named.yaml").write_text(CONFIG)
    monkeypatch.setenv("LLM_SIDECAR_CONFIG", str(folder / "named.yaml"))
    add(capsys, "laptop")
    assert (folder / "sub/clients").exists()


@pytest.mark.parametrize("name", ["", "a b", "#a", "-a/../b", "a" * 64, "a\nb 00"])
def test_a_bad_name_is_refused(folder: Path, capsys: Captured, name: str) -> None:
    assert main(["keys", "add", "--", name]) == 1
    assert "cannot be the name of a key" in capsys.readouterr().err
    assert not (folder / "keys.txt").exists()


def test_a_taken_name_is_refused(folder: Path, capsys: Captured) -> None:
    add(capsys, "laptop")
    before = (folder / "keys.txt").read_bytes()
    assert main(["keys", "add", "Laptop"]) == 1
    said = capsys.readouterr()
    assert "'laptop' has a key already (keys.txt, line 3)" in said.err
    assert said.out == ""
    assert (folder / "keys.txt").read_bytes() == before


def test_a_file_keeps_its_mode_its_link_and_its_comments(folder: Path, capsys: Captured) -> None:
    real = folder / "sub/real"
    real.write_text("# mine")
    real.chmod(0o640)
    (folder / "keys.txt").symlink_to(real)
    add(capsys, "laptop")
    assert (folder / "keys.txt").is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.read_text().startswith("# mine\nlaptop  sha256:")
    assert [one.name for one in (folder / "sub").iterdir()] == ["real"]


def test_a_file_with_a_bad_line_is_left_alone(folder: Path, capsys: Captured) -> None:
    (folder / "keys.txt").write_text("anna sk-sidecar-oops\n")
    assert main(["keys", "add", "ben"]) == 1
    said = capsys.readouterr().err
    assert "keys.txt, line 1: something that is no digest" in said
    assert "oops" not in said
    assert (folder / "keys.txt").read_text() == "anna sk-sidecar-oops\n"


def test_keys_are_listed_and_revoked(folder: Path, capsys: Captured) -> None:
    add(capsys, "anna")
    add(capsys, "ben")
    assert main(["keys", "list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "NAME", "anna", "ben",
    ]  # fmt: skip
    assert main(["keys", "remove", "ANNA"]) == 0
    assert "'anna' is revoked" in capsys.readouterr().out
    assert [one.name for one in parse((folder / "keys.txt").read_bytes()).keys] == ["ben"]
    assert main(["keys", "remove", "bem"]) == 1
    assert "no key of 'bem' in keys.txt; did you mean 'ben'?" in capsys.readouterr().err
    assert main(["keys", "remove", "ben"]) == 0
    assert "nobody can come in" in capsys.readouterr().out
    assert main(["keys", "list"]) == 0
    assert capsys.readouterr().out == "There is no key in keys.txt.\n"


def test_the_last_key_that_goes_leaves_a_configuration_that_loads(
    folder: Path, capsys: Captured
) -> None:
    (folder / "sidecar.yaml").write_text(CONFIG)
    add(capsys, "anna")
    main(["keys", "remove", "anna"])
    public = load(str(folder / "sidecar.yaml"), {}).snapshot.public
    assert public is not None
    assert public.keys == ()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list"], "There is no file keys.txt. `llm-sidecar keys add NAME` makes it"),
        (["remove", "anna"], "There is no file"),
        (["add", "anna", "--file", "nowhere/keys"], "nowhere cannot be opened: No such file"),
        (["add", "anna", "--file", "sub"], "sub cannot be read: Is a directory"),
    ],
)
def test_what_cannot_be_done_is_told(capsys: Captured, arguments: list[str], words: str) -> None:
    assert main(["keys", *arguments]) == 1
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""


def test_a_configuration_that_cannot_be_read_is_told(folder: Path, capsys: Captured) -> None:
    (folder / "sidecar.yaml").write_text("{")
    assert main(["keys", "add", "anna"]) == 78
    add(capsys, "anna", "--file", "mine")
    assert main(["keys", "list", "--config", "none.yaml"]) == 78


def test_keys_that_are_added_at_once_are_all_there(folder: Path) -> None:
    command = [sys.executable, "-m", "sidecar", "keys", "add", "--file", str(folder / "k")]
    root = Path(__file__).resolve().parents[3]
    running = [
        subprocess.Popen([*command, f"c{number}"], cwd=root, stdout=subprocess.PIPE, stderr=-3)
        for number in range(4)
    ]
    assert [process.wait() for process in running] == [0] * 4
    keys = [process.stdout.read().decode().strip() for process in running if process.stdout]
    for process in running:
        if process.stdout is not None:
            process.stdout.close()
    held = parse((folder / "k").read_bytes()).keys
    assert [whose([("x-api-key", key)], held) for key in keys] == ["c0", "c1", "c2", "c3"]
