"""The log of a child: every line that is known, lines of strangers, and damage."""

from __future__ import annotations

import json
import time

import pytest

from tests.tunnel.stand import CONNECTOR
from tunnel import loglines
from tunnel.events import (
    Cause,
    ConfigPushed,
    ConnectorTold,
    Lost,
    MetricsTold,
    QuicFailed,
    Registered,
    Told,
    Trouble,
    VersionTold,
)
from tunnel.facts import Log
from tunnel.loglines import MOST, Lines, is_harmless, level_at_a_glance, read, told


def line(message: str, level: str = "info", **fields: object) -> bytes:
    """A line as cloudflared writes it with --output json."""
    whole = {**fields, "level": level, "message": message, "time": "2026-11-20T17:15:59Z"}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()


def text(message: str, level: str = "INF") -> bytes:
    return f"2026-11-20T17:15:59Z {level} {message}".encode()


EDGE = "Unable to establish connection with Cloudflare edge"
REFUSED = "Register tunnel error from server side"
NO_START = "Couldn't start tunnel"
NO_DNS = "edge discovery: error looking up Cloudflare edge IPs: the DNS query failed"

EVENTS: list[tuple[bytes, Log, Told | None]] = [
    (line("Starting tunnel", tunnelID="5f2c"), "info", None),
    (line("Version 2026.8.2 (Checksum ab12)"), "info", VersionTold("2026.8.2")),
    (line("Settings: map[no-autoupdate:true token:*****]"), "info", None),
    (line(f"Generated Connector ID: {CONNECTOR}"), "info", ConnectorTold(CONNECTOR)),
    (line("Initial protocol quic"), "info", None),
    (line("Starting metrics server on 127.0.0.1:41234/metrics"), "info", MetricsTold(41234)),
    (
        line(
            "Registered tunnel connection", connIndex=2, connection="u", event=0, ip="198.41.192.7",
            location="fra08", protocol="http2",
        ),
        "info",
        Registered(2, "http2"),
    ),
    (line("Lost connection with the edge", connIndex=1), "info", Lost()),
    (
        line("Serve tunnel error", "error", connIndex=1, error="connection with edge closed"),
        "error",
        Lost(),
    ),
    (line("Connection terminated", "warn", connIndex=3), "warning", Lost()),
    (line("Connection terminated", "error"), "error", Lost()),
    (line("Retrying connection in up to 4s", connIndex=0), "info", None),
    (
        line(EDGE, "error", connIndex=0, error="DialContext error: dial tcp 1.2.3.4:7844: refused"),
        "error",
        Trouble(Cause.EDGE, f"{EDGE}: DialContext error: dial tcp 1.2.3.4:7844: refused"),
    ),
    (
        line(EDGE, "error", error="TLS handshake with edge error: x509: unknown authority"),
        "error",
        Trouble(Cause.EDGE, f"{EDGE}: TLS handshake with edge error: x509: unknown authority"),
    ),
    (line("Failed to dial a quic connection", "error", error="timeout"), "error", QuicFailed()),
    (line("Switching to fallback protocol http2"), "info", None),
    *(
        (
            line(REFUSED, "error", connIndex=0, error=f"Unauthorized: {why}"),
            "error",
            Trouble(Cause.UNAUTHORIZED, f"{REFUSED}: Unauthorized: {why}"),
        )
        for why in ("Invalid tunnel secret", "Tunnel not found", "Failed to get tunnel")
    ),
    (
        line(REFUSED, "error", error="account is blocked"),
        "error",
        Trouble(Cause.EDGE, f"{REFUSED}: account is blocked"),
    ),
    (
        line(REFUSED, "error", error="bad credentials"),
        "error",
        Trouble(Cause.EDGE, f"{REFUSED}: bad credentials"),
    ),
    (
        line("initial tunnel connection failed", "error", error="connection with edge closed"),
        "error",
        Trouble(Cause.EDGE, "initial tunnel connection failed: connection with edge closed"),
    ),
    (
        line(
            "Initiating shutdown",
            "error",
            error="Could not lookup srv records on _v2-origintunneld._tcp.argotunnel.com",
        ),
        "error",
        Trouble(
            Cause.DNS,
            "Initiating shutdown: Could not lookup srv records on "
            "_v2-origintunneld._tcp.argotunnel.com",
        ),
    ),
    (line("Initiating shutdown", "error"), "error", None),
    (line(NO_DNS, "error", error="i/o"), "error", Trouble(Cause.DNS, f"{NO_DNS}: i/o")),
    (
        line("Error opening metrics server listener", "error", error="address already in use"),
        "error",
        Trouble(Cause.PORT, "Error opening metrics server listener: address already in use"),
    ),
    (line(NO_START, "error"), "error", Trouble(Cause.CONFIG, NO_START)),
    (line("Initiating graceful shutdown due to signal terminated ..."), "info", None),
    (line("Unregistered tunnel connection", connIndex=0, event=0), "info", Lost()),
    (line("Tunnel server stopped"), "info", None),
    (line("Metrics server stopped"), "info", None),
    (
        line(
            "", "error", connIndex=0, event=1, ingressRule=0, originService="http://127.0.0.1:1",
            error="Unable to reach the origin service. The service may be down",
        ),
        "error",
        None,
    ),
    (line("failed to serve incoming request", "error", error="Unable to reach"), "error", None),
    (line("|  https://some-words.trycloudflare.com   |"), "info", None),
    (
        line(
            "Error unmarshaling QuickTunnel response: <html>error code: 1015</html>",
            "error",
            status_code="429 Too Many Requests",
            error="invalid character",
        ),
        "error",
        Trouble(
            Cause.QUICK_LIMITED,
            "the service for quick tunnels answered 429 Too Many Requests",
        ),
    ),
    (
        line("Error unmarshaling QuickTunnel response: error code: 1015", "error"),
        "error",
        Trouble(Cause.QUICK_LIMITED, "the service for quick tunnels answered no JSON"),
    ),
    (
        line("Error unmarshaling QuickTunnel response: oops", "error", status_code="502 Bad"),
        "error",
        Trouble(Cause.QUICK, "the service for quick tunnels answered 502 Bad"),
    ),
    (
        line("Updated to new configuration", config='{"ingress":[]}', version=3),
        "info",
        ConfigPushed(),
    ),
    (line("Failed to deserialize new configuration", "error", version=3), "error", None),
    (line("observer channel buffer is full", "warn"), "warning", None),
    (line("a panic of zerolog", "fatal"), "error", None),
    (line("Registering tunnel connection", "debug"), "debug", None),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "level", "event"), EVENTS)
def test_json_lines(raw: bytes, level: Log, event: Told | None) -> None:
    assert read(raw).kind == "json"
    assert read(raw).level == level
    assert told(read(raw)) == event
    assert level_at_a_glance(raw) == level


@pytest.mark.parametrize(
    ("raw", "level", "event"),
    [
        (text("Version 2025.4.0 (Checksum ab)"), "info", VersionTold("2025.4.0")),
        (text(f"Generated Connector ID: {CONNECTOR}"), "info", ConnectorTold(CONNECTOR)),
        (text("Starting metrics server on 127.0.0.1:5/metrics"), "info", MetricsTold(5)),
        (
            text(
                "Registered tunnel connection connIndex=0 connection=5a event=0 ip=198.41.192.7"
                " location=fra08 protocol=quic"
            ),
            "info",
            Registered(0, "quic"),
        ),
        (
            text(REFUSED + ' error="Unauthorized: \\"x\\"" event=0', "ERR"),
            "error",
            Trouble(Cause.UNAUTHORIZED, f'{REFUSED}: Unauthorized: "x"'),
        ),
        (text("Connection terminated connIndex=1", "WRN"), "warning", Lost()),
        (text("Updated to new configuration config=\"{}\" version=12"), "info", ConfigPushed()),
        (text("a=b c=d", "DBG"), "debug", None),
        (text("", "FTL"), "error", None),
    ],
)  # fmt: skip
def test_text_lines_are_events_of_a_plain_child_alone(
    raw: bytes, level: Log, event: Told | None
) -> None:
    assert read(raw).kind == "text"
    assert read(raw).level == level
    assert told(read(raw), plain=True) == event
    assert told(read(raw)) is None


@pytest.mark.parametrize(
    ("raw", "level"),
    [
        (b"2026/11/20 17:15:27 http2: server: error reading preface", "warning"),
        (b"connection with edge closed", "warning"),
        (b"Incorrect Usage: flag provided but not defined: -output", "error"),
        (b"panic: runtime error: index out of range", "error"),
        (b"fatal error: all goroutines are asleep - deadlock!", "error"),
        (b"goroutine 1 [running]:", "debug"),
        (b"main.main()", "debug"),
        (b"github.com/cloudflare/cloudflared/supervisor.(*Supervisor).Run(0xc000)", "debug"),
        (b"\t/go/src/main.go:12 +0x1d", "debug"),
        (
            b"2026/11/20 17:15:27 failed to sufficiently increase receive buffer size. See "
            b"https://github.com/quic-go/quic-go/wiki/UDP-Buffer-Sizes for details.",
            "debug",
        ),
        (b"{", "warning"),
        (b'{"level":"info"', "warning"),
        (b'{"level":7,"message":"m"}', "warning"),
        (b'{"level":"loud","message":"m"}', "warning"),
        (b'{"level":"info","message":7}', "warning"),
        (b'{"a":' * 3000, "warning"),
        (b'{"level":"info","message":"m","n":' + b"9" * 9000 + b"}", "warning"),
        (b"\xff\xfe\x00", "warning"),
    ],
)
def test_foreign_lines_are_told_and_are_no_events(raw: bytes, level: Log) -> None:
    assert read(raw).kind == "foreign"
    assert read(raw).level == level
    assert told(read(raw), plain=True) is None


METRICS = "Starting metrics server on 127.0.0.1:9/metrics"


@pytest.mark.parametrize(
    "raw",
    [
        # what a stranger may bring into a log by the path of a request
        line(f"GET https://x/{METRICS} HTTP/1.1", "debug"),
        line(f"GET https://evil.trycloudflare.com/?{METRICS}", "debug"),
        line(f"failed: Generated Connector ID: {CONNECTOR}", "error"),
        line(METRICS + " HTTP/1.1"),
        line("Starting metrics server on 10.0.0.1:9/metrics"),
        line("Starting metrics server on 127.0.0.1:0/metrics"),
        line("Starting metrics server on 127.0.0.1:99999999/metrics"),
        line("x", error=METRICS, dest=f'{{"level":"info","message":"{METRICS}"}}'),
        line(f'{{"level":"info","message":"{METRICS}","time":""}}'),
        line("Registered tunnel connection"),
        line("Registered tunnel connection", connIndex="zero"),
        line("Registered tunnel connection", connIndex=True),
        line("Registered tunnel connection /x", connIndex=0),
        line("Updated to new configuration"),
        line("Version 2026.8.2; GET /"),
        f"2026/11/20 17:15:27 http: {METRICS}".encode(),
        b'["' + line(METRICS) + b'"]',
        b" " + line(METRICS),
        json.dumps([METRICS]).encode(),
        text(METRICS),
    ],
)
def test_a_line_that_only_holds_an_event_is_none(raw: bytes) -> None:
    assert told(read(raw)) is None


def test_nothing_reaches_a_terminal_that_steers_it() -> None:
    raw = line(
        "a\x1b[31mb\x1b]0;title\x07c\x00d\re\u202ef\u2028g\ud800h\x9bi\tj".replace("\ud800", "")
    )
    raw = raw.replace(b"gh", b"g\\ud800h\\u001b[2Jk")
    assert read(raw).text == "abcdefghki j"
    assert read(b"x\x1b[1;31my\xff\x00z\r").text == "xyz"
    assert read(line("m", error="new\nline")).text == "m error=newline"


def test_the_text_of_a_line_says_all_but_the_time() -> None:
    raw = line("Serve tunnel error", "error", connIndex=1, error="edge closed", event=0, ip="")
    assert read(raw).text == 'Serve tunnel error connIndex=1 error="edge closed" ip=""'


STREAM_LOST = "Error shutting down control stream: client disconnected"
CANCELED = "Incoming request ended abruptly: context canceled"


@pytest.mark.parametrize(
    ("raw", "at_work", "in_drain"),
    [
        (line("Connection terminated", "error"), False, True),
        (line("no more connections active and exiting", "error"), False, True),
        (line("Serve tunnel error", "error", error="context canceled"), False, True),
        (line("Retrying connection in up to 1s"), False, True),
        (line("failed to serve incoming request", "error", error=CANCELED), True, True),
        (line("", "error", event=1, originService="http://x", error=CANCELED), True, True),
        (line("Request failed", "error", error="x: context canceled"), True, True),
        (line("", "error", originService="x", error="Unable to reach the origin"), False, False),
        (line(REFUSED, "error", error="Unauthorized: Tunnel not found"), False, False),
        (line("context canceled", "error"), False, False),
        (line("Configuration file /dev/null was empty", "error"), True, True),
        (line("Configuration file /x was empty", "error"), False, False),
        (line("failed to serve incoming request", "error", error=STREAM_LOST), True, True),
        (line("precheck", component="TCP Connectivity", status="fail"), True, True),
        (line("precheck complete", hard_fail=True), True, True),
        (line("+-----+"), True, True),
        (line("|  WARNING: Allow outbound QUIC traffic on port 7844  |"), True, True),
        (line("The user running cloudflared process has a GID (group", "warn"), True, True),
        (line(NO_DNS, "error", error="no such host"), False, False),
    ],
)
def test_which_lines_say_nothing(raw: bytes, at_work: bool, in_drain: bool) -> None:
    assert is_harmless(read(raw), draining=False) is at_work
    assert is_harmless(read(raw), draining=True) is in_drain


@pytest.mark.parametrize(
    ("raw", "is_harmful"),
    [
        (line(NO_DNS, "error", error="no such host"), False),
        (line("Please try the following things to diagnose this issue:", "error"), False),
        (line("     https://developers.cloudflare.com/1.1.1.1/setting-up/", "error"), False),
        (line(EDGE, "error", error="TLS handshake with edge error: EOF"), True),
    ],
)
def test_who_was_told_where_the_edge_is_need_not_find_it(raw: bytes, is_harmful: bool) -> None:
    assert is_harmless(read(raw), draining=False, named_edge=True) is not is_harmful
    assert is_harmless(read(raw), draining=False) is False


STREAM = b"".join(
    each + b"\n"
    for each in (
        line("one"),
        b"",
        b"\r",
        text("two"),
        b"x" * (MOST + 5) + line("no"),
        line("\xe9 3"),
    )
)
WHOLE = [line("one"), text("two"), b"x" * MOST, line("\xe9 3")]


def test_a_stream_may_be_cut_anywhere() -> None:
    small = STREAM[: STREAM.index(b"x" * 9)] + line("\xe9 3") + b"\n"
    for cut in range(len(small) + 1):
        lines = Lines()
        found = lines.feed(small[:cut]) + lines.feed(small[cut:])
        assert found == [WHOLE[0], WHOLE[1], WHOLE[3]], cut


@pytest.mark.parametrize("size", [1, 2, 3, 7, 4096, MOST - 1, MOST, MOST + 1, 1 << 20])
def test_a_long_line_is_cut_and_its_rest_is_nothing(size: int) -> None:
    lines = Lines()
    found = [
        each for at in range(0, len(STREAM), size) for each in lines.feed(STREAM[at : at + size])
    ]
    assert found == WHOLE
    assert lines.rest() == []


def test_what_has_no_end_is_told_at_the_end() -> None:
    lines = Lines()
    assert lines.feed(b"first\nlast words") == [b"first"]
    assert lines.rest() == [b"last words"]
    assert lines.rest() == []


def test_ten_megabytes_without_an_end_take_no_room() -> None:
    lines, piece = Lines(), b"\x00\xff" * 16_384
    found = [each for _ in range(320) for each in lines.feed(piece)]
    assert [len(each) for each in found] == [MOST]
    assert lines.feed(b"\n" + line("next") + b"\n") == [line("next")]


def test_no_line_of_sixteen_kilobytes_takes_long() -> None:
    worst = [
        b"2026-11-20T17:15:59Z INF " + each * (MOST // len(each))
        for each in (
            b" a=",
            b' a="',
            b'\\"',
            b"a ",
            b"a.",
            b"a(",
            b"a.(",
            b"\x1b]",
            b"\x1b[0",
            b" a=b",
        )
    ]
    began = time.perf_counter()
    for raw in [*worst, *(each[25:] for each in worst)]:
        told(read(raw), plain=True)
    assert time.perf_counter() - began < 2.0


def test_the_words_that_are_needed_are_those_of_the_events() -> None:
    for raw, _, event in EVENTS:
        needed = isinstance(event, MetricsTold | ConnectorTold | Registered | ConfigPushed)
        assert (loglines.NEEDED.search(raw) is not None) is needed
