"""The image: built by buildah on a Debian made here, and run as Kubernetes would run it.

It takes a minute or two and needs root, so that `make test` leaves it out; `make image-test` is it.
The container's place is taken by namespaces: the image's files as a read-only root, /tmp in memory,
the user 65532 without any capability, and the program as process 1.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest

from tests.e2e.client import chat, fetch
from tests.e2e.harness import two_free_ports
from tests.kubernetes.tools import ROOT, need

pytestmark = [
    pytest.mark.skipif("IMAGE_TEST" not in os.environ, reason="`make image-test` runs it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces and a Debian"),
    pytest.mark.timeout(900),
]

MOST_OF_OURS = 60_000_000  # bytes of files in /app
PACKAGES = "python3-minimal,libpython3-stdlib,python3-pip,ca-certificates,binutils"
USER = 65532

# As process 1 of a new namespace: the image's root, read-only, and what a runtime puts into it.
CONTAINER = """\
set -e
root=$1 config=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount --bind -o ro "$config" "$root/etc/llm-sidecar"
mount -t tmpfs -o size=16m,mode=1777 tmp "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,ro,bind "$root"
exec chroot "$root" /usr/bin/setpriv --reuid 65532 --regid 65532 --clear-groups --no-new-privs \\
    --bounding-set=-all --inh-caps=-all "$@"
"""


@dataclass(frozen=True)
class Builder:
    """buildah with a store of its own."""

    folder: Path
    env: dict[str, str]

    def __call__(self, *command: str) -> str:
        done = subprocess.run(
            ["buildah", *command], cwd=ROOT, env=self.env, capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def build(self, target: str) -> Image:
        """Build a target the way that `make image` does it."""
        name = f"localhost/llm-sidecar:{target}"
        given = ["PIP_NO_INDEX=1", "PIP_FIND_LINKS=/wheels", "CLOUDFLARED=localhost/cloudflared"]
        given += ["BUILD_BASE=localhost/base", "BASE=localhost/base"]
        arguments = [word for one in given for word in ("--build-arg", one)]
        done = subprocess.run(
            ["deploy/image/build.sh", target, name, *arguments,
             "--volume", f"{self.folder}/wheels:/wheels:ro"],
            cwd=ROOT, env={**self.env, "BUILDER": "buildah"}, capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        told = json.loads(self("inspect", "--type", "image", name))["Docker"]["config"]
        return Image(Path(self("mount", self("from", "--pull-never", name))), told)


@dataclass(frozen=True)
class Image:
    """The files of an image, and what it says of itself."""

    root: Path
    config: dict[str, Any]

    def command(self, config: Path, command: Sequence[str]) -> list[str]:
        """How it is run here, with a folder as /etc/llm-sidecar."""
        space = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", CONTAINER]
        clean = ["/usr/bin/env", "-i", *self.config["Env"]]
        inside = ["sh", "-c", f'cd {self.config["WorkingDir"]} && exec "$@"', "sh", *command]
        return [*space, "sh", str(self.root), str(config), *clean, *inside]

    def run(self, *command: str, folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(folder, command), capture_output=True, text=True, timeout=60, check=False
        )

    @asynccontextmanager
    async def started(self, folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
        """Its entrypoint and command; the process that waits for it, and its own id outside."""
        command = [*self.config["Entrypoint"], *self.config["Cmd"]]
        with (folder / "output").open("wb") as output:
            outer = await asyncio.create_subprocess_exec(
                *self.command(folder, command), stdout=output, stderr=output
            )
        try:
            children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
            yield outer, int((await eventually(lambda: read(children).split()))[0])
        finally:
            if outer.returncode is None:
                outer.kill()
                await outer.wait()


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


Found = TypeVar("Found")


async def eventually(look: Callable[[], Found]) -> Found:
    """Look until something is found, a minute at most."""
    async with asyncio.timeout(60):
        while not (found := look()):  # noqa: ASYNC110  # no event comes from another process
            await asyncio.sleep(0.01)
    return found


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """buildah, with a Debian as localhost/base, and a stand-in as Cloudflare's image."""
    for tool in ("buildah", "mmdebstrap", "setpriv"):
        need(tool)
    folder = tmp_path_factory.mktemp("image")
    builder = with_storage(folder)
    base = debian()
    get_wheels(base, folder / "wheels")
    scratch(builder, "base", base, "/")
    standin = folder / "cloudflared"
    standin.write_text("#!/bin/sh\necho cloudflared version 2026.8.2\n")
    standin.chmod(0o755)
    scratch(builder, "cloudflared", standin, "/usr/local/bin/")
    yield builder
    builder("rm", "--all")
    subprocess.run(["umount", str(folder / "graph/overlay")], capture_output=True, check=False)
    shutil.rmtree(folder / "graph")


def with_storage(folder: Path) -> Builder:
    """A store in overlays, or in copies where the system has no overlays."""
    storage = folder / "storage.conf"
    env = {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage), "BUILDAH_ISOLATION": "chroot"}
    places = f'graphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    for driver in ("overlay", "vfs"):
        storage.write_text(f'[storage]\ndriver = "{driver}"\n{places}')
        tried = "buildah mount $(buildah from scratch)"
        if not subprocess.run(["sh", "-c", tried], env=env, capture_output=True).returncode:
            break
        shutil.rmtree(folder / "graph", ignore_errors=True)
    return Builder(folder, env)


def debian() -> Path:
    """A small Debian of this machine's release as an archive; made once for a working copy."""
    release = re.findall(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.M)
    if not release or not Path("/etc/debian_version").exists():
        pytest.skip("the base of the image is made of Debian's packages, on a Debian")
    path = ROOT / f".tools/base-{release[0]}.tar"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        beside = path.with_suffix(".new.tar")
        made = subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}",
             *(f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("doc", "locale", "man")),
             release[0], str(beside)],
            capture_output=True, text=True, timeout=800, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        beside.rename(path)
    return path


def get_wheels(base: Path, folder: Path) -> None:
    """What pip installs in the build, so that the build itself needs no network."""
    with tarfile.open(base) as archive:
        names = [re.fullmatch(r"\./usr/bin/python(3\.\d+)", one) for one in archive.getnames()]
    version = next(name[1] for name in names if name)
    got = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps",
         "--only-binary", ":all:", "--python-version", version, "--dest", str(folder),
         "--requirement", str(ROOT / "requirements/run.txt")],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert got.returncode == 0, got.stderr


def scratch(builder: Builder, name: str, source: Path, target: str) -> None:
    """An image that has one file, or what an archive holds."""
    container = builder("from", "scratch")
    builder("add", container, str(source), target)
    builder("commit", "--quiet", container, f"localhost/{name}")
    builder("rm", container)


@pytest.fixture(scope="module")
def slim(builder: Builder) -> Image:
    return builder.build("slim")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is mounted as /etc/llm-sidecar, for whomever to read."""
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def echo(folder: Path) -> tuple[Path, int, int]:
    """A folder with a configuration that echoes, and the ports of data and admin."""
    data, admin = two_free_ports()
    (folder / "config.yaml").write_text(
        f"listeners: {{data: {{port: {data}}}, admin: {{port: {admin}}}}}\n"
        "backends: {toy: {preset: echo}}\n"
        "routes: {any: {models: ['*'], targets: [{backend: toy}]}}\n"
    )
    return folder, data, admin


def test_it_says_how_it_is_run(slim: Image) -> None:
    told = slim.config
    assert told["User"] == "65532:65532"
    assert (told["Entrypoint"], told["Cmd"]) == (["llm-sidecar"], ["run"])
    assert told["Healthcheck"]["Test"] == ["CMD", "llm-sidecar", "health"]
    labels = {key.rpartition(".")[2]: value for key, value in told["Labels"].items()}
    assert labels["version"] == "0.1.0"
    assert re.fullmatch("[0-9a-f]{40}|unknown", labels["revision"])
    assert labels["licenses"] == "Apache-2.0"


def test_ours_is_small(slim: Image, record_property: Callable[[str, object], None]) -> None:
    files = [path for path in (slim.root / "app").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    record_property("bytes of ours", size)
    assert size < MOST_OF_OURS
    kept = {path.name for path in (slim.root / "app/src").iterdir()}
    assert kept == {"sidecar", "tunnel"}
    writable = [path for path in files if path.stat().st_mode & 0o022]
    assert not writable


async def test_it_serves_with_a_read_only_root(
    slim: Image, echo: tuple[Path, int, int], record_property: Callable[[str, object], None]
) -> None:
    folder, data, admin = echo
    async with slim.started(folder) as (outer, pid):

        def healthy() -> bool:
            assert outer.returncode is None, read(folder / "output")
            asked = ("llm-sidecar", "health", f"127.0.0.1:{admin}")
            return slim.run(*asked, folder=folder).returncode == 0

        await eventually(healthy)
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{data}/v1/chat/completions"
            got = await fetch(session, url, data=json.dumps(chat()).encode())
        assert got.status == 200
        assert b"[llm-sidecar" in got.raw

        status = dict(re.findall(r"^(\w+):\t(.*)$", read(Path(f"/proc/{pid}/status")), re.M))
        assert {*status["Uid"].split(), *status["Gid"].split()} == {str(USER)}
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert status["NSpid"].split()[-1] == "1"
        assert "python" in read(Path(f"/proc/{pid}/cmdline"))
        ticks = read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
        spent = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
        record_property("processor time until it serves, seconds", spent)
        record_property("memory", status["VmRSS"].strip())

        os.kill(pid, signal.SIGTERM)
        assert await asyncio.wait_for(outer.wait(), 30) == 0
    assert "Traceback" not in read(folder / "output")


async def test_as_process_1_it_ends_while_it_starts(
    slim: Image, echo: tuple[Path, int, int]
) -> None:
    """The system keeps signals from a process 1 that has no handler for them."""
    async with slim.started(echo[0]) as (outer, pid):
        command = Path(f"/proc/{pid}/cmdline")
        await eventually(lambda: "/app/bin/llm-sidecar" in read(command).split("\0"))

        def ended() -> bool:
            if outer.returncode is None:
                os.kill(pid, signal.SIGTERM)  # the first ones come before Python itself is there
            return outer.returncode is not None

        await eventually(ended)
        assert outer.returncode == 128 + signal.SIGTERM


def test_nothing_can_be_written_but_in_tmp(slim: Image, folder: Path) -> None:
    tried = "for f in / /app /app/src/sidecar /etc/llm-sidecar /tmp; do touch $f/x && echo $f; done"
    assert slim.run("sh", "-c", tried, folder=folder).stdout.split() == ["/tmp"]  # noqa: S108


def test_a_faulty_configuration_is_said_with_its_code(slim: Image, folder: Path) -> None:
    (folder / "config.yaml").write_text("backnds: {}\n")
    told = slim.run("llm-sidecar", "run", folder=folder)
    assert told.returncode == 78
    assert "/etc/llm-sidecar/config.yaml:1" in told.stderr


def test_the_target_tunnel_has_what_a_tunnel_needs(builder: Builder, folder: Path) -> None:
    tunnel = builder.build("tunnel")
    for command, word in {
        "cloudflared --version": "cloudflared version",
        "setpriv --pdeathsig KILL -- cloudflared --version": "cloudflared version",
        "llm-tunnel --help": "usage: llm-tunnel",
    }.items():
        told = tunnel.run(*command.split(), folder=folder)
        assert told.stdout.startswith(word), told.stderr
    assert tunnel.config["User"] == "65532:65532"


def test_the_bill_of_materials_is_that_of_the_lock(slim: Image) -> None:
    told = json.loads(read(slim.root / "app/sbom.cdx.json"))
    assert (told["bomFormat"], told["metadata"]["component"]["name"]) == (
        "CycloneDX", "llm-sidecar",
    )  # fmt: skip
    lock = (ROOT / "requirements/run.txt").read_text()
    locked = dict(re.findall(r"^([\w.-]+)==([\w.]+)", lock, re.M))
    found = {one["name"].lower().replace("_", "-"): one["version"] for one in told["components"]}
    assert found.items() <= locked.items()
    assert {"aiohttp", "pydantic", "cryptography", "uvloop"} <= set(found)
