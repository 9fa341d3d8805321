"""Start, stop and what can be seen meanwhile: drain, probes, logs, gzip, loops, exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.client import chat
from tests.e2e.harness import Config, Sidecar, chain, until
from tests.fakes import behaviours as b
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend

KEY = "sk-very-secret-0123456789abcdefghij"
FAULTY = """\
listeners: {data: {prt: 14400}}
backends:
  p: {dialekt: openai, base_url: "http://127.0.0.1:1/v1"}
  q: {dialect: anthropic, base_url: "http://127.0.0.1:1"}
  r: {dialect: openai, base_url: "http://127.0.0.1:1/v1", auth: {bearer: sk-literal-secret}}
routes:
  chat: {models: [chat], targets: [{backend: pp}]}
limits: {body: ten}
tunnel: {quick: true}
"""


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    async with Backend("p") as fake:
        yield fake


# --- stopping ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_soon_when_idle(
    tmp_path: Path, backend: Backend, number: signal.Signals
) -> None:
    async with Sidecar(tmp_path, chain(backend)) as sidecar:
        assert (await sidecar.ask(chat())).status == 200  # leaves connections open on both sides
        sidecar.signal(number)
        async with asyncio.timeout(7.5):  # the promise is 1.5 s
            assert await sidecar.exit_code() == 0


async def test_as_a_sidecar_it_serves_until_it_is_quiet(tmp_path: Path, backend: Backend) -> None:
    go = asyncio.Event()
    backend.script = [b.gated(go)]
    async with Sidecar(tmp_path, chain(backend)) as sidecar:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(sidecar.ask(chat(stream=True)))
            await backend.seen()
            sidecar.signal(signal.SIGTERM)
            await sidecar.until_metric(lambda now: now.value("draining") == 1, "it drains")
            assert (await sidecar.ask(chat())).text == text_of("p"), "the app still needs it"
            assert (await sidecar.admin("/readyz")).status == 200
            assert (await sidecar.admin("/livez")).status == 200
            go.set()
        assert call.result().done
        assert await sidecar.exit_code() == 0


async def test_as_a_gateway_it_says_so_and_takes_nothing_new(
    tmp_path: Path, backend: Backend
) -> None:
    go = asyncio.Event()
    backend.script = [b.gated(go)]
    drain: Config = {"drain": {"mode": "gateway", "settle": "2s", "limit": "60s"}}
    async with Sidecar(tmp_path, {**chain(backend), **drain}) as sidecar:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(sidecar.ask(chat(stream=True)))
            await backend.seen()
            sidecar.signal(signal.SIGTERM)

            async def unready() -> bool:
                return (await sidecar.admin("/readyz")).status == 503

            await until(unready, "/readyz says 503")
            got = await sidecar.ask(chat())
            assert got.text == text_of("p"), "while it settles it still accepts"
            assert got.headers.get("connection", "").lower() == "close"

            async def closed() -> bool:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", sidecar.data_port)
                    writer.close()
                    return False
                return True

            await until(closed, "no new connections")
            assert (await sidecar.admin("/livez")).status == 200
            go.set()
        assert call.result().done
        assert await sidecar.exit_code() == 0


async def test_a_second_signal_ends_it(tmp_path: Path, backend: Backend) -> None:
    backend.rest = b.gated(asyncio.Event())
    async with Sidecar(tmp_path, chain(backend)) as sidecar:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(sidecar.ask(chat(stream=True)))
            await backend.seen()
            sidecar.signal(signal.SIGTERM)
            await sidecar.until_metric(lambda now: now.value("draining") == 1, "it drains")
            sidecar.signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                await sidecar.exit_code()
        assert not call.result().done
        assert call.result().finish is None


# --- starting --------------------------------------------------------------------------------


async def test_a_faulty_file_stops_it_with_every_fault(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path, FAULTY, ready=False)
    async with sidecar:
        assert await sidecar.exit_code() == 78
        check, output = await sidecar.command("check", str(sidecar.file))
    assert check == 78
    for text in (sidecar.output, output):
        for word in ("prt", "port", "dialekt", "dialect", "tunnel", "ten", "pp"):
            assert word in text, word
        assert "sk-literal-secret" not in text
        assert "Traceback" not in text


async def test_a_degraded_start_says_what_is_wrong_and_heals(
    tmp_path: Path, backend: Backend
) -> None:
    sidecar = Sidecar(tmp_path, None, args=("--start", "degraded"), env={})
    good = sidecar.text(chain(backend))
    # the listeners are readable, so that it can be asked; the rest is not
    faulty = good.replace("routes:", "roots:")
    sidecar.config = faulty
    async with sidecar:
        assert (await sidecar.admin("/readyz")).status == 200
        for stream in (True, False):
            got = await sidecar.ask(chat(stream=stream))
            assert (got.status, got.code) == (503, "not_configured")
            assert "roots" in got.message
            assert "retry-after" in got.headers
        assert (await sidecar.metrics()).value("config_last_reload_successful") == 0
        sidecar.rewrite_config(good)
        await sidecar.until_metric(
            lambda now: now.value("config_last_reload_successful") == 1, "the good file is read"
        )
        assert (await sidecar.ask(chat())).text == text_of("p")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has more loopback addresses")
async def test_probes_come_to_the_address_of_the_environment_whatever_the_file(
    tmp_path: Path, backend: Backend
) -> None:
    env = {"LLM_SIDECAR_ADMIN_BIND": "127.0.0.2"}
    sidecar = Sidecar(tmp_path, None, args=("--start", "degraded"), env=env)
    good = sidecar.text(chain(backend))
    sidecar.config = good.replace("routes:", "roots:")
    elsewhere, sidecar.admin_url = sidecar.admin_url, f"http://127.0.0.2:{sidecar.admin_port}"
    async with sidecar:
        for path in ("/startupz", "/livez", "/readyz", "/metrics"):
            assert (await sidecar.admin(path)).status == 200
        with pytest.raises(aiohttp.ClientConnectorError):
            await sidecar.http.get(f"{elsewhere}/livez")
        await sidecar.reload(good)
        assert "restart" not in sidecar.output
        assert (await sidecar.ask(chat())).text == text_of("p")


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("--version",), 0),
        (("--help",), 0),
        (("run", "--help"), 0),
        (("schema",), 0),
        (("no-such-command",), 2),
        (("run", "--no-such-flag"), 2),
        (("run", "--config", "no-such-file.yaml"), 78),
        (("check", "no-such-file.yaml"), 78),
    ],
)
async def test_exit_codes(tmp_path: Path, args: tuple[str, ...], code: int) -> None:
    exit_code, output = await Sidecar(tmp_path, None).command(*args)
    assert exit_code == code, output
    assert output.strip()
    assert "Traceback" not in output


async def test_a_port_in_use_is_said_plainly(tmp_path: Path, backend: Backend) -> None:
    async with Sidecar(tmp_path, chain(backend)) as first:
        (tmp_path / "two").mkdir()
        second = Sidecar(tmp_path / "two", chain(backend), ready=False)
        second.data_port = first.data_port
        async with second:
            assert await second.exit_code() != 0
        assert str(first.data_port) in second.output


# --- what can be seen ------------------------------------------------------------------------


async def test_probes_health_and_status(tmp_path: Path, backend: Backend) -> None:
    async with Sidecar(tmp_path, chain(backend)) as sidecar:
        for stream in (True, False):
            assert (await sidecar.ask(chat(stream=stream))).status == 200
        await sidecar.idle()
        for path in ("/livez", "/readyz", "/startupz"):
            assert (await sidecar.admin(path)).status == 200
            assert (await sidecar.get(path)).status == 404, "on the admin listener only"
        for health in (await sidecar.admin("/health"), await sidecar.get("/health")):
            assert health.status == 200
            assert {"status", "backends"} <= health.json.keys()
        status = await sidecar.admin("/status")
        assert {"backends", "routes", "revision"} <= status.json.keys()
        assert "p" in status.raw.decode()
        code, table = await sidecar.command("status")
        assert code == 0, table
        assert "chat" in table


async def test_health_stays_200_when_every_backend_is_down(tmp_path: Path) -> None:
    async with Backend("p", rest=b.reset) as p, Sidecar(tmp_path, chain(p)) as sidecar:
        assert (await sidecar.ask(chat())).status == 503
        assert (await sidecar.get("/health")).status == 200
        assert (await sidecar.admin("/readyz")).status == 200


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
async def test_promtool_likes_the_metrics(tmp_path: Path, backend: Backend) -> None:
    async with Sidecar(tmp_path, chain(backend)) as sidecar:
        for model in ("chat", "unknown"):
            await sidecar.ask(chat(model))
        text = (await sidecar.admin("/metrics")).raw
    command = ["promtool", "check", "metrics"]
    checked = subprocess.run(command, input=text, capture_output=True)  # noqa: ASYNC221 - short
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


async def test_all_label_sets_are_there_from_the_start(tmp_path: Path, backend: Backend) -> None:
    async with Sidecar(tmp_path, chain(backend)) as sidecar:
        metrics = await sidecar.metrics()
    outcomes = {
        labels["outcome"]
        for name, labels, value in metrics.samples
        if name == "llm_sidecar_requests_total" and labels["route"] == "chat" and value == 0
    }
    assert outcomes >= {"ok", "client_error", "upstream_error", "timeout", "rate_limited"}
    assert not [name for name in metrics.names() if name.endswith("_created")]


async def test_one_line_for_each_request(tmp_path: Path, backend: Backend) -> None:
    async with (
        Backend("bad", rest=b.status(503)) as bad,
        Sidecar(tmp_path, chain(bad, backend)) as sidecar,
    ):
        got = await sidecar.ask(chat(stream=True), headers={"x-request-id": "req-1"})
        assert got.text == text_of("p")
        line = await sidecar.request_line("req-1")
    assert line["route"] == "chat"
    attempts = line["attempts"]
    assert isinstance(attempts, list)
    assert [attempt["backend"] for attempt in attempts] == ["bad", "bad", "bad", "p"]
    text = str(line)
    assert "60" in text, "tokens are in it"
    assert "ttft" in text.lower()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("abc-123_X.y", True), ("", False), ("a b", False), ("x" * 5000, False), ("é", False)],
)
async def test_the_request_id_comes_back_when_it_is_sane(
    tmp_path: Path, backend: Backend, sent: str, kept: bool
) -> None:
    async with Sidecar(tmp_path, chain(backend)) as sidecar:
        for body in (chat(), chat("unknown")):
            got = await sidecar.ask(body, headers={"x-request-id": sent})
            assert got.headers["x-request-id"]
            assert (got.headers["x-request-id"] == sent) is kept


async def test_no_secret_anywhere(tmp_path: Path) -> None:
    """Not in the log at debug, the status, the metrics, an error, or print-config."""
    prompt = "the-prompt-is-private"
    p = Backend("p", rest=b.status(401, f"Incorrect API key provided: {KEY}", "invalid_api_key"))
    config = chain(p, backends={})
    async with p:
        config = chain(p, backends={"p": {"auth": {"bearer": {"env": "THE_KEY"}}}})
        config["log"] = {"level": "debug", "format": "json"}
        async with Sidecar(tmp_path, config, env={"THE_KEY": KEY}) as sidecar:
            body = chat(messages=[{"role": "user", "content": prompt}])
            told = {"authorization": "Bearer sk-client-0123456789abcdef"}
            seen = [(await sidecar.ask(body, headers=told)).raw]
            p.rest = b.well(["the-answer-is-private"])
            assert (await sidecar.ask(body, headers=told)).status == 200
            p.rest = b.reset
            seen.append((await sidecar.ask(body, headers=told)).raw)
            seen += [(await sidecar.admin(path)).raw for path in ("/status", "/metrics", "/health")]
            for command in (("print-config", "--config", str(sidecar.file)), ("status",)):
                code, output = await sidecar.command(*command)
                assert code == 0, output
                seen.append(output.encode())
            seen.append(sidecar.output.encode())
    everything = b"\n".join(seen).decode()
    for secret in (KEY, "sk-client-0123456789abcdef", prompt, "the-answer-is-private"):
        assert secret not in everything


# --- small promises on the wire --------------------------------------------------------------


async def test_gzip_for_clients_that_ask_and_never_on_streams(
    tmp_path: Path, backend: Backend
) -> None:
    asks = {"accept-encoding": "gzip, deflate"}
    async with Sidecar(tmp_path, chain(backend)) as sidecar:
        plain = await sidecar.ask(chat())
        assert "content-encoding" not in plain.headers
        squeezed = await sidecar.ask(chat(), headers=asks)
        assert squeezed.headers.get("content-encoding") == "gzip"
        assert gzip.decompress(squeezed.raw) == plain.raw
        streamed = await sidecar.ask(chat(stream=True), headers=asks)
        assert "content-encoding" not in streamed.headers
        assert streamed.text == text_of("p")
        backend.rest = b.zipped
        again = await sidecar.ask(chat())
        assert again.raw == plain.raw, "and it is unzipped for those who did not ask"


async def test_a_loop_is_a_508(tmp_path: Path, backend: Backend) -> None:
    """A backend that leads back here: the request comes round once, and no further."""
    sidecar = Sidecar(tmp_path, None)
    async with forwarder(sidecar.data_port) as port:
        own: dict[str, Config] = {"p": {"base_url": f"http://127.0.0.1:{port}/v1"}}
        sidecar.config = chain(backend, backends=own, models=["chat", "model-p"])
        async with sidecar:
            got = await sidecar.ask(chat())
            assert "loop" in got.raw.decode().lower()
            assert got.status == 508
            metrics = await sidecar.idle()
            assert metrics.value("attempts_total", backend="p") == 1


@contextlib.asynccontextmanager
async def forwarder(to: int) -> AsyncIterator[int]:
    """A port that leads to another one, as a proxy or a Service would."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_connections_are_kept_alive_on_both_sides(tmp_path: Path, backend: Backend) -> None:
    async with (
        Sidecar(tmp_path, chain(backend)) as sidecar,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as client,
    ):
        for number in range(5):
            body = chat(stream=number % 2 == 0)
            async with client.post(sidecar.base_url + "/v1/chat/completions", json=body) as reply:
                assert reply.status == 200
                assert "connection" not in reply.headers
                await reply.read()
    assert [seen.nth_on_connection for seen in backend.requests] == [0, 1, 2, 3, 4], (
        "one connection for all"
    )


async def test_a_forced_backend(tmp_path: Path, backend: Backend) -> None:
    async with Backend("q") as q, Sidecar(tmp_path, chain(backend, q)) as sidecar:
        by_header = await sidecar.ask(chat(), headers={"x-sidecar-backend": "q"})
        assert (by_header.text, q.requests[-1].model) == (text_of("q"), "model-q")
        by_name = await sidecar.ask(chat("q/other:model"))
        assert (by_name.text, q.requests[-1].model) == (text_of("q"), "other:model")
        assert by_name.headers["x-sidecar-backend"] == "q"
        assert not backend.requests


async def test_a_request_without_a_model_goes_to_the_default_route(
    tmp_path: Path, backend: Backend
) -> None:
    async with Sidecar(tmp_path, chain(backend, default=True)) as sidecar:
        body = {"messages": [{"role": "user", "content": "hi"}]}
        assert (await sidecar.ask(body)).status == 200
        assert backend.requests[0].model == "model-p"
