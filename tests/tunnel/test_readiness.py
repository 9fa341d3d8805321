"""What is made of the answers of a metrics port, or of whatever else listens there."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from tests.fakes.backend import refusing_port
from tests.tunnel import doors
from tests.tunnel.doors import Answer, door, http, raw, told
from tests.tunnel.stand import CONNECTOR
from tunnel import readiness
from tunnel.events import Ingress, Readiness, Ready
from tunnel.readiness import ask_ingress, ask_quick_hostname, ask_ready

NO_ANSWER = Readiness(Ready.NO_ANSWER)
FOREIGN = Readiness(Ready.FOREIGN)


def ready(status: int = 200, connections: object = 4, connector: object = CONNECTOR) -> Answer:
    body = {"status": status, "readyConnections": connections, "connectorId": connector}
    return told(body, status)


@pytest.mark.parametrize(
    ("answer", "readiness"),
    [
        (ready(), Readiness(Ready.READY, 4)),
        (ready(connections=0), Readiness(Ready.READY, 0)),
        (ready(503, 0), Readiness(Ready.NOT_READY, 0)),
        (ready(connector="11111111-0000-4000-8000-000000000000"), FOREIGN),
        (ready(503, 0, connector="other"), FOREIGN),
        (told({"status": 200, "readyConnections": 4}), FOREIGN),
        (ready(500), NO_ANSWER),
        (ready(302), NO_ANSWER),
        (ready(connections="4"), NO_ANSWER),
        (ready(connections=-1), NO_ANSWER),
        (ready(connections=True), NO_ANSWER),
        (ready(connections=None), NO_ANSWER),
        (told([1]), NO_ANSWER),
        (raw(http(200, b"OK")), NO_ANSWER),
        (raw(http(200, b"")), NO_ANSWER),
        (raw(http(200, b'{"status":200,"readyConn')), NO_ANSWER),
        (raw(http(200, b"{}")[:-1]), NO_ANSWER),
        (raw(http(200, b"[" * 60_000)), NO_ANSWER),
        (raw(http(200, b" " * 70_000 + b"{}")), NO_ANSWER),
        (raw(http(200, b"\xff\xfe")), NO_ANSWER),
        (raw(http(200, b"not gzip", "Content-Encoding: gzip")), NO_ANSWER),
        (raw(b""), NO_ANSWER),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), NO_ANSWER),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n"), NO_ANSWER),
        (raw(http(302, b"", "Location: http://127.0.0.1:1/ready")), NO_ANSWER),
        (doors.without_end, NO_ANSWER),
    ],
)
async def test_ready(answer: Answer, readiness: Readiness) -> None:
    async with door(answer) as port:
        assert await ask_ready(port, CONNECTOR) == readiness


async def test_nobody_is_believed_before_the_log_has_named_a_connector() -> None:
    async with door(told({"status": 200, "readyConnections": 4, "connectorId": None})) as port:
        assert await ask_ready(port, None) == FOREIGN


async def test_nobody_there() -> None:
    with refusing_port() as port:
        assert await ask_ready(port, CONNECTOR) == NO_ANSWER
        assert await ask_ingress(port) is None
        assert await ask_quick_hostname(port) is None


@pytest.mark.parametrize("answer", [doors.silence, doors.drops])
async def test_who_takes_too_long_has_not_answered(answer: Answer) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with door(answer) as port:
        assert await ask_ready(port, CONNECTOR) == NO_ANSWER
    assert readiness.PATIENCE * 0.9 < loop.time() - began < readiness.PATIENCE * 5


def config(*rules: object) -> Answer:
    return told({"version": 3, "config": {"ingress": list(rules), "warp-routing": {}}})


ORIGIN: dict[str, object] = {
    "hostname": "",
    "path": None,
    "service": "http://127.0.0.1:14402",
    "originRequest": {},
}
NAMED = {"hostname": "llm.example.com", "service": "http://127.0.0.1:14402"}
NONE = {"hostname": "", "service": "http_status:404"}


@pytest.mark.parametrize(
    ("answer", "ingress"),
    [
        (config(ORIGIN), Ingress(("http://127.0.0.1:14402",), ())),
        (
            config(NAMED, NONE),
            Ingress(("http://127.0.0.1:14402", "http_status:404"), ("llm.example.com",)),
        ),
        (config(), Ingress((), ())),
        (config({"hostname": "x"}), None),
        (config("x"), None),
        (config({"service": 7}), None),
        (told({"version": 3, "config": None}), None),
        (told({"version": 3, "config": {"ingress": None}}), None),
        (told([], 200), None),
        (told({"version": -1, "config": {"ingress": [ORIGIN]}}, 500), None),
        (doors.without_end, None),
    ],
)
async def test_ingress(answer: Answer, ingress: Ingress | None) -> None:
    async with door(answer) as port:
        assert await ask_ingress(port) == ingress


async def test_a_long_configuration_is_read() -> None:
    rules = [dict(NAMED, hostname=f"{number}.example.com") for number in range(5000)]
    async with door(config(*rules)) as port:
        found = await ask_ingress(port)
    assert found is not None
    assert len(found.hostnames) == 5000


@pytest.mark.parametrize(
    ("hostname", "found"),
    [
        ("some-words-here.trycloudflare.com", "some-words-here.trycloudflare.com"),
        ("https://some-words.trycloudflare.com", "some-words.trycloudflare.com"),
        ("", None),
        ("api.trycloudflare.com", None),
        ("localhost", None),
        ("a b.example.com", None),
        ("x.example.com/path", None),
        ("x.example.com\n", None),
        ("x" * 300 + ".com", None),
        (("a." * 200) + "com", None),
        (7, None),
        (None, None),
    ],
)
async def test_the_name_of_a_quick_tunnel(hostname: object, found: str | None) -> None:
    async with door(told({"hostname": hostname})) as port:
        assert await ask_quick_hostname(port) == found


async def test_a_question_names_its_path() -> None:
    asked: list[bytes] = []

    async def note(head: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(head.split(b"\r\n")[0])
        writer.write(http(503, json.dumps({}).encode()))

    async with door(note) as port:
        await ask_ready(port, CONNECTOR)
        await ask_ingress(port)
        await ask_quick_hostname(port)
    assert [re.sub(rb"GET (.*) HTTP/1.1", rb"\1", each) for each in asked] == [
        b"/ready", b"/config", b"/quicktunnel",
    ]  # fmt: skip
