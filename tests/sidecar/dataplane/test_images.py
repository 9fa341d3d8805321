"""Images by URL: what is fetched, from where, and what is refused. On a real server on loopback."""

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from sidecar.dataplane import images
from sidecar.dataplane.images import Allowance, ImageFetcher
from sidecar.neutral.problem import ProblemKind, RequestRefused
from sidecar.neutral.request import (
    ChatRequest,
    Image,
    Inline,
    Message,
    Part,
    Remote,
    Role,
    Text,
    ToolResult,
)
from tests.fakes.certificates import Authority

HOST = "images.example"
LOOPBACK = "127.0.0.1"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
INLINE_PNG = Inline("image/png", base64.b64encode(PNG).decode())


class Names(AbstractResolver):
    """Resolves names out of a table, and notes what it was asked."""

    def __init__(self, table: dict[str, list[str]]) -> None:
        self.table = table
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if host not in self.table:
            raise OSError("no such name")
        return [
            ResolveResult(
                hostname=host, host=address, port=port, proto=0, flags=0,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
            )
            for address in self.table[host]
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing is held open."""


@dataclass
class Site:
    """A web server that answers by a function, and what came to it."""

    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    tls: ssl.SSLContext | None = None
    port: int = 0
    seen: list[web.BaseRequest] = field(default_factory=list)
    names: Names = field(default_factory=lambda: Names({HOST: [LOOPBACK]}))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        return await self.answer(request)

    def url(self, path: str = "/cat.png") -> str:
        return f"{'https' if self.tls else 'http'}://{HOST}:{self.port}{path}"

    def fetcher(
        self, trusting: ssl.SSLContext | None = None, seconds: float = 60.0
    ) -> ImageFetcher:
        here = frozenset({(LOOPBACK, self.port)})
        return ImageFetcher(self.names, Allowance(here, trusting), seconds)


Open = Callable[..., Awaitable[Site]]


@pytest.fixture
async def site() -> AsyncIterator[Open]:
    runners = []

    async def open_site(
        answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        tls: ssl.SSLContext | None = None,
    ) -> Site:
        made = Site(answer, tls)
        runner = web.ServerRunner(web.Server(made.handle))
        await runner.setup()
        runners.append(runner)
        listening = web.TCPSite(runner, LOOPBACK, 0, ssl_context=tls)
        await listening.start()
        made.port = runner.addresses[0][1]
        return made

    yield open_site
    for runner in runners:
        await runner.cleanup()


async def png(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=PNG, content_type="text/plain")


def asking(*parts: Part) -> ChatRequest:
    return ChatRequest((Message(Role.SYSTEM, (Text("Look."),)), Message(Role.USER, parts)))


def picture(url: str) -> Image:
    return Image(Remote(url))


async def refusal(fetcher: ImageFetcher, *urls: str) -> str:
    with pytest.raises(RequestRefused) as refused:
        await fetcher.inlined(asking(*map(picture, urls)))
    problem = refused.value.problem
    assert (problem.kind, problem.code) == (ProblemKind.BAD_REQUEST, "image_not_fetched")
    return problem.message


# --- what comes in --------------------------------------------------------------------------------


async def test_images_come_into_the_request_wherever_they_stand(site: Open) -> None:
    where = await site(png)
    remote = Image(Remote(where.url()), detail="high", cache={"type": "ephemeral"})
    here = Image(Inline("image/gif", "R0lGODlh"))
    result = ToolResult("call_1", (Text("shot"), remote, here), is_error=True)
    request = asking(here, remote, Text("and"), result, remote)

    got = await where.fetcher().inlined(request)

    inline = replace(remote, source=INLINE_PNG)
    told = replace(result, content=(Text("shot"), inline, here))
    assert got == asking(here, inline, Text("and"), told, inline)
    assert len(where.seen) == 3


async def test_a_request_without_remote_images_stays_itself() -> None:
    request = asking(Text("hi"), Image(INLINE_PNG))
    assert await ImageFetcher(Names({})).inlined(request) is request


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"GIF89arest", "image/gif"),
        (b"RIFF\0\0\0\0WEBPrest", "image/webp"),
    ],
)
async def test_the_type_is_what_the_bytes_say(site: Open, body: bytes, kind: str) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=body, content_type="image/png")

    where = await site(answer)
    got = await where.fetcher().inlined(asking(picture(where.url())))
    assert got == asking(Image(Inline(kind, base64.b64encode(body).decode())))


async def test_nothing_of_the_client_or_the_host_goes_along(
    site: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {HOST} login me password s3cret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/moved":
            return web.Response(status=302, headers={"Location": "/", "Set-Cookie": "a=b"})
        return await png(request)

    where = await site(answer)
    fetcher = where.fetcher()
    for _ in range(2):
        await fetcher.inlined(asking(picture(where.url("/moved?x=1#part"))))
    assert [request.path_qs for request in where.seen] == ["/moved?x=1", "/"] * 2
    for request in where.seen:
        assert {name.lower(): value for name, value in request.headers.items()} == {
            "host": f"{HOST}:{where.port}",
            "user-agent": "llm-sidecar",
            "accept": "image/jpeg, image/png, image/gif, image/webp",
            "accept-encoding": "identity",
            "connection": "close",
        }


async def test_a_name_is_resolved_once_for_each_connection(site: Open) -> None:
    where = await site(png)
    await where.fetcher().inlined(asking(picture(where.url())))
    assert where.names.asked == [HOST]


async def test_over_tls_the_server_is_asked_for_by_its_name(site: Open, tmp_path: Path) -> None:
    authority, names = Authority(), []
    tls = authority.server(HOST)
    tls.sni_callback = lambda _, name, __: names.append(name)
    where = await site(png, tls)
    trusting = ssl.create_default_context(cafile=str(authority.write_bundle(tmp_path)))

    got = await where.fetcher(trusting).inlined(asking(picture(where.url())))

    assert got == asking(Image(INLINE_PNG))
    assert names == [HOST]
    assert where.seen[0].headers["Host"] == f"{HOST}:{where.port}"
    assert "certificate" in await refusal(where.fetcher(), where.url())


# --- where nothing is fetched from ----------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
    ],
)
async def test_no_address_that_is_not_public_is_connected_to(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled = _no_sockets(monkeypatch)
    literal = f"[{address}]" if ":" in address else address
    fetcher = ImageFetcher(Names({HOST: [address, address]}))
    for host in (HOST, literal):
        for scheme in ("http", "https"):
            assert "public host" in await refusal(fetcher, f"{scheme}://{host}/cat.png")
    assert dialled == []


async def test_a_public_address_is_connected_to_on_the_ports_of_the_web_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dialled = _no_sockets(monkeypatch)
    fetcher = ImageFetcher(Names({HOST: ["1.1.1.1"]}))
    for port in (22, 8080, 6379):
        assert "port 80 or 443" in await refusal(fetcher, f"http://{HOST}:{port}/")
    assert dialled == []
    for url in (f"http://{HOST}/", f"https://{HOST}/", "http://1.1.1.1:443/"):
        assert "no complete answer" in await refusal(fetcher, url)
    assert len(dialled) == 3


def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Makes every connection fail; what would have been opened is noted."""
    dialled: list[object] = []

    class Refuser:
        @staticmethod
        def socket(*arguments: object) -> None:
            dialled.append(arguments)
            raise OSError("no sockets here")

    monkeypatch.setattr(images, "socket", Refuser)
    return dialled


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://images.example/cat.png", "http://"),
        ("file:///etc/passwd", "http://"),
        ("data:image/png;base64,AAAA", "http://"),
        ("http:///cat.png", "http://"),
        ("cat.png", "http://"),
        ("", "http://"),
        ("http://[::1/", "no URL"),
        ("http://images.example:99999/", "no URL"),
        ("http://me:s3cret@images.example/", "user name"),
        ("http://s3cret@images.example/", "user name"),
        ("http://nowhere.example/", "not known"),
        ("http://2130706433/", "no complete answer"),
        ("http://127.1/", "no complete answer"),
    ],
)
async def test_an_address_that_cannot_be_fetched_is_refused(url: str, told: str) -> None:
    message = await refusal(ImageFetcher(Names({HOST: [LOOPBACK]})), url)
    assert told in message
    assert "s3cret" not in message


async def test_every_redirect_is_checked_again(site: Open) -> None:
    targets = {
        "/inside": "http://169.254.169.254/latest/meta-data/",
        "/name": "http://inside.example/",
        "/scheme": "file:///etc/passwd",
        "/password": "http://a:b@images.example/",
    }

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": targets[request.path]})

    where = await site(answer)
    where.names.table["inside.example"] = ["10.0.0.1"]
    told = [await refusal(where.fetcher(), where.url(path)) for path in targets]
    assert [message.rpartition(": ")[2] for message in told] == [
        "its address does not lead to port 80 or 443 of a public host.",
        "its address does not lead to port 80 or 443 of a public host.",
        "its address does not begin with http:// or https:// and a host.",
        "its address holds a user name or a password.",
    ]


@pytest.mark.parametrize(("hops", "is_fetched"), [(3, True), (4, False)])
async def test_redirects_are_followed_three_times(site: Open, hops: int, is_fetched: bool) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        hop = int(request.path.strip("/"))
        return (
            web.Response(status=301, headers={"Location": f"{hop - 1}"})
            if hop
            else await png(request)
        )

    where = await site(answer)
    if is_fetched:
        got = await where.fetcher().inlined(asking(picture(where.url(f"/{hops}"))))
        assert got == asking(Image(INLINE_PNG))
    else:
        assert "more than 3 times" in await refusal(where.fetcher(), where.url(f"/{hops}"))


# --- what is not taken ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (lambda: web.Response(status=404), "status 404"),
        (lambda: web.Response(status=302), "status 302"),
        (lambda: web.Response(status=204), "status 204"),
        (lambda: web.Response(body=b""), "not a JPEG"),
        (lambda: web.Response(body=b"<html>", content_type="image/png"), "not a JPEG"),
        (lambda: web.Response(body=b"<svg/>", content_type="image/svg+xml"), "not a JPEG"),
        (lambda: web.Response(body=PNG + bytes(images.SIZE)), "larger than 5 MB"),
    ],
)
async def test_an_answer_that_is_no_image(
    site: Open, response: Callable[[], web.Response], told: str
) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return response()

    where = await site(answer)
    assert told in await refusal(where.fetcher(), where.url())


async def test_a_body_is_read_no_further_than_it_may_be_large(site: Open) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await response.write(PNG)
            while True:
                await response.write(bytes(100_000))
        except ConnectionError:
            return response

    where = await site(answer)
    assert "larger than 5 MB" in await refusal(where.fetcher(), where.url())


async def test_a_body_that_is_compressed_against_our_will_is_not_unpacked(site: Open) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(body=PNG)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    where = await site(answer)
    assert "not a JPEG" in await refusal(where.fetcher(), where.url())


async def test_a_body_that_breaks_off(site: Open) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(PNG)
        assert request.transport is not None
        request.transport.abort()
        return response

    where = await site(answer)
    assert "no complete answer" in await refusal(where.fetcher(), where.url())


async def test_a_server_that_takes_its_time(site: Open) -> None:
    may_go = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(PNG)
        await may_go.wait()
        return response

    where = await site(answer)
    told = await refusal(where.fetcher(seconds=0.05), where.url())
    may_go.set()
    assert told.endswith("it did not come within 0.05 seconds.")


# --- how it is told, and how much at once ---------------------------------------------------------


async def test_a_refusal_names_the_image_and_neither_its_path_nor_its_query(site: Open) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=403) if request.path == "/path" else await png(request)

    where = await site(answer)
    request = asking(
        Image(INLINE_PNG), picture(where.url()), picture(where.url("/path?signature=s3cret"))
    )
    with pytest.raises(RequestRefused) as refused:
        await where.fetcher().inlined(request)
    assert str(refused.value) == (
        "Image 3 of the request, from images.example, could not be fetched: "
        "its server answered with status 403."
    )


async def test_too_many_images_are_refused_before_one_is_fetched(site: Open) -> None:
    where = await site(png)
    told = await refusal(where.fetcher(), *[where.url()] * 21)
    assert told == "The request points to 21 images; at most 20 are fetched."
    assert where.seen == []
    got = await where.fetcher().inlined(asking(*[picture(where.url())] * 20))
    assert got == asking(*[Image(INLINE_PNG)] * 20)


async def test_images_that_are_too_large_together(
    site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "GROWTH", 2 * len(INLINE_PNG.data))
    where = await site(png)
    await where.fetcher().inlined(asking(*[picture(where.url())] * 2))
    told = await refusal(where.fetcher(), *[where.url()] * 3)
    assert told == "The images that the request points to are too large together."


async def test_four_are_fetched_at_once(site: Open) -> None:
    here, four_here, may_go = 0, asyncio.Event(), asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal here
        here += 1
        assert here <= 4
        if here == 4:
            four_here.set()
        await may_go.wait()
        here -= 1
        return await png(request)

    where = await site(answer)
    fetcher = where.fetcher()
    request = asking(*[picture(where.url())] * 6)
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(fetcher.inlined(request)) for _ in range(2)]
        await four_here.wait()
        may_go.set()
    assert [task.result() for task in both] == [asking(*[Image(INLINE_PNG)] * 6)] * 2
    assert len(where.seen) == 12


async def test_a_client_that_goes_takes_its_fetches_along(site: Open) -> None:
    came, gone = asyncio.Event(), asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        came.set()
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(100_000))
        except ConnectionError:
            gone.set()
            return response

    where = await site(answer)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(where.fetcher().inlined(asking(picture(where.url()))))
        await came.wait()
        task.cancel()
    await gone.wait()
    assert task.cancelled()
