"""Requests that two readers may understand in two ways, as data.

Each comes before a second request that is beyond doubt, on the same connection and in the same
piece. `REFUSED` ones get an error, the connection is closed, and nothing of either reaches a
backend. `TAKEN` ones have one meaning only by RFC 9112; what is odd in them, and why it may pass,
says `why`. `closes` means that what follows is never served.
"""

from __future__ import annotations

from dataclasses import dataclass

BODY = b'{"model":"chat","messages":[{"role":"user","content":"hi"}]}'
EVIL = BODY.replace(b'"hi"', b'"EVIL"')
SIZE = b"%d" % len(BODY)
HEX = b"%x" % len(BODY)
PATH = b"/v1/chat/completions"
LINE = b"POST " + PATH + b" HTTP/1.1"
LENGTH = b"Content-Length: " + SIZE
CHUNKED = b"Transfer-Encoding: chunked"


@dataclass(frozen=True)
class Case:
    """One odd request; `why` is said where it is taken."""

    name: str
    data: bytes
    why: str = ""
    closes: bool = False


def request(
    *lines: bytes, body: bytes = BODY, first: bytes = LINE, end: bytes = b"\r\n", host: bool = True
) -> bytes:
    """A request with these header fields besides those that every one needs."""
    named = [b"Host: localhost"] if host else []
    head = [first, *named, b"Content-Type: application/json", *lines, b"", b""]
    return end.join(head) + body


def chunks(size: bytes = HEX, end: bytes = b"0\r\n\r\n", data: bytes = BODY + b"\r\n") -> bytes:
    """A chunked body of one chunk."""
    return size + b"\r\n" + data + end


def chunked(size: bytes = HEX, end: bytes = b"0\r\n\r\n", data: bytes = BODY + b"\r\n") -> bytes:
    """A request with such a body."""
    return request(CHUNKED, body=chunks(size, end, data))


NEXT = request(b"Content-Length: %d" % len(EVIL), body=EVIL)


def _lengths() -> list[Case]:
    values = {
        "plus": b"+" + SIZE,
        "negative": b"-1",
        "hex": b"0x10",
        "space within": b"6 0",
        "underscore": b"6_0",
        "fraction": SIZE + b".0",
        "exponent": b"6e1",
        "vertical tab": b"\x0b" + SIZE,
        "empty": b"",
        "word": b"ten",
        "past 64 bits": b"9" * 23,
        "list, same": SIZE + b", " + SIZE,
        "list, different": SIZE + b", 5",
    }
    return [
        *(Case(f"length {n}", request(b"Content-Length: " + v)) for n, v in values.items()),
        Case("length twice, same", request(LENGTH, LENGTH)),
        Case("length twice, different", request(LENGTH, b"Content-Length: 5")),
        Case("length twice, in another case", request(LENGTH, b"content-length: 5")),
        Case("length 2^64 - 1", request(b"Content-Length: 18446744073709551615")),
        Case("length 2^64 - 2", request(b"Content-Length: 18446744073709551614")),
        Case("length behind a folded line", request(b"Content-Length:\r\n " + SIZE)),
        Case("length, no-break space in its name", request(b"Content-Length\xa0: 5")),
    ]


def _both() -> list[Case]:
    whole = chunks()
    return [
        Case("length, then coding", request(LENGTH, CHUNKED, body=whole)),
        Case("coding, then length", request(CHUNKED, LENGTH, body=whole)),
        Case("coding and no length", request(CHUNKED, b"Content-Length: 0", body=whole)),
        Case("coding in HTTP/1.0", request(CHUNKED, body=whole, first=LINE[:-1] + b"0")),
        Case("coding chunked, as HTTP/1.0 keep-alive", request(
            CHUNKED, b"Connection: keep-alive", LENGTH, body=whole, first=LINE[:-1] + b"0")),
    ]  # fmt: skip


def _codings() -> list[Case]:
    values = {
        "chunked, identity": b" chunked, identity",
        "identity, chunked": b" identity, chunked",
        "gzip, chunked": b" gzip, chunked",
        "chunked, chunked": b" chunked, chunked",
        "an empty one and chunked": b" ,chunked",
        "chunked and an empty one": b" chunked,",
        "identity": b" identity",
        "xchunked": b" xchunked",
        "with a parameter": b" chunked;q=1",
        "quoted": b' "chunked"',
        "vertical tab": b" \x0bchunked",
        "Kelvin sign": " chun\u212aed".encode(),
        "nothing": b"",
        "folded": b"\r\n chunked",
    }
    whole, name = chunks(), b"Transfer-Encoding:"
    return [
        *(Case(f"coding {n}", request(name + v, body=whole)) for n, v in values.items()),
        *(Case(f"coding {n}, and a length", request(name + v, LENGTH)) for n, v in values.items()),
        Case("coding, space before colon", request(b"Transfer-Encoding : chunked", body=whole)),
        Case("coding, tab before colon", request(b"Transfer-Encoding\t: chunked", body=whole)),
        Case("coding, space before it", request(b" Transfer-Encoding: chunked", body=whole)),
        Case("coding, tab behind it", request(CHUNKED + b"\t", body=whole)),
        Case("coding twice", request(CHUNKED, CHUNKED, body=whole)),
        Case("coding twice, identity", request(CHUNKED, name + b" identity", body=whole)),
    ]


def _chunks() -> list[Case]:
    sizes = {
        "plus": b"+" + HEX,
        "0x": b"0x" + HEX,
        "space before": b" " + HEX,
        "space after": HEX + b" ",
        "tab after": HEX + b"\t",
        "negative": b"-" + HEX,
        "underscore": b"3_c",
        "empty": b"",
        "word": b"zz",
        "past 64 bits": b"ffffffffffffffff1",
        "past 64 bits, low bits right": b"1" + b"0" * 14 + HEX,
        "two carriage returns": HEX + b"\r",
        "extension over lines": HEX + b';a="b\r\nc"',
        "extension with a line feed": HEX + b";a=b\nX: y",
        "extension with NUL": HEX + b";a=\x00",
        "extension without name": HEX + b";;",
        "space before an extension": HEX + b" ;a=b",
    }
    return [
        *(Case(f"chunk size {n}", chunked(v)) for n, v in sizes.items()),
        Case("chunk, bare LF after its size", request(
            CHUNKED, body=HEX + b"\n" + BODY + b"\r\n0\r\n\r\n")),
        Case("chunk without an end", chunked(data=BODY)),
        Case("chunk, bare LF at its end", chunked(data=BODY + b"\n")),
        Case("chunk, bare CR at its end", chunked(data=BODY + b"\r")),
        Case("chunk longer than its size", chunked(data=BODY + b"XX\r\n")),
        Case("chunks end by bare LF", chunked(end=b"0\n\n")),
        Case("trailer: length", chunked(end=b"0\r\nContent-Length: 5\r\n\r\n")),
        Case("trailer: coding", chunked(end=b"0\r\nTransfer-Encoding: chunked\r\n\r\n")),
        Case("trailer without colon", chunked(end=b"0\r\nno colon\r\n\r\n")),
        Case("trailer folded", chunked(end=b"0\r\nX: a\r\n b\r\n\r\n")),
    ]  # fmt: skip


def _fields() -> list[Case]:
    lines = {
        "bare LF": LENGTH + b"\nX-A: b",
        "bare CR": LENGTH + b"\rX-A: b",
        "CR in a value": b"X-A: a\rb\r\n" + LENGTH,
        "two CR": LENGTH + b"\r",
        "folded by a space": b"X-A: a\r\n b\r\n" + LENGTH,
        "folded by a tab": b"X-A: a\r\n\tb\r\n" + LENGTH,
        "NUL in a value": b"X-A: a\x00b\r\n" + LENGTH,
        "NUL in a name": b"X\x00A: b\r\n" + LENGTH,
        "control character in a value": b"X-A: a\x01b\r\n" + LENGTH,
        "DEL in a value": b"X-A: a\x7fb\r\n" + LENGTH,
        "space in a name": b"X A: b\r\n" + LENGTH,
        "parenthesis in a name": b"X(A): b\r\n" + LENGTH,
        "8 bits in a name": b"X\xe9: b\r\n" + LENGTH,
        "no name": b": b\r\n" + LENGTH,
        "no colon": b"XA\r\n" + LENGTH,
    }
    return [
        *(Case(f"field: {n}", request(v)) for n, v in lines.items()),
        Case("lines by bare LF", request(LENGTH, end=b"\n")),
        Case("head ends by bare LF", request(LENGTH).replace(b"\r\n\r\n", b"\r\n\n", 1)),
        Case("first line ends by bare LF", request(LENGTH).replace(b"\r\n", b"\n", 1)),
        Case("first field folded", request(LENGTH, first=LINE + b"\r\n X: y")),
        Case("no Host", request(LENGTH, host=False)),
        Case("two Hosts", request(b"Host: localhost", LENGTH)),
    ]


def _first_lines() -> list[Case]:
    lines = {
        "HTTP/0.9": b"POST " + PATH,
        "HTTP/0.9 GET": b"GET /v1/models",
        "HTTP/2.0": b"POST " + PATH + b" HTTP/2.0",
        "HTTP/2 preface": b"PRI * HTTP/2.0",
        "HTTP/1.2": b"POST " + PATH + b" HTTP/1.2",
        "HTTP/01.1": b"POST " + PATH + b" HTTP/01.1",
        "version with a tail": LINE + b"x",
        "space at its end": LINE + b" ",
        "another protocol": b"POST " + PATH + b" XTTP/1.1",
        "lower-case version": b"POST " + PATH + b" http/1.1",
        "RTSP": b"PLAY " + PATH + b" RTSP/1.0",
        "lower-case method": b"post " + PATH + b" HTTP/1.1",
        "unknown method": b"FROB " + PATH + b" HTTP/1.1",
        "tab for a space": b"POST\t" + PATH + b" HTTP/1.1",
        "space before it": b" " + LINE,
        "space in the path": b"POST " + PATH + b" x HTTP/1.1",
        "NUL in the path": b"POST " + PATH + b"\x00 HTTP/1.1",
        "control character in the path": b"POST " + PATH + b"\x01 HTTP/1.1",
        "CR in the path": b"POST " + PATH + b"\r HTTP/1.1",
        "8 bits in the path": b"POST " + PATH + b"\xff HTTP/1.1",
        "no slash": b"POST v1/chat/completions HTTP/1.1",
        "address of another host": b"POST http://evil.example" + PATH + b" HTTP/1.1",
        "address of another port": b"POST http://localhost:1" + PATH + b" HTTP/1.1",
        "address with a name": b"POST http://me@localhost" + PATH + b" HTTP/1.1",
        "address of another scheme": b"POST ftp://localhost" + PATH + b" HTTP/1.1",
        "TRACE": b"TRACE " + PATH + b" HTTP/1.1",
        "a method of RTSP": b"PLAY " + PATH + b" HTTP/1.1",
        "CONNECT": b"CONNECT localhost:80 HTTP/1.1",
    }
    return [Case(f"first line: {n}", request(LENGTH, first=v)) for n, v in lines.items()]


REFUSED = (*_lengths(), *_both(), *_codings(), *_chunks(), *_fields(), *_first_lines())

TAKEN = (
    Case("nothing odd, by length", request(LENGTH), "for comparison"),
    Case("nothing odd, chunked", chunked(), "for comparison"),
    Case("length with leading zeros", request(b"Content-Length: 000" + SIZE), "1*DIGIT"),
    Case("length with blanks around it", request(LENGTH + b" \t"), "OWS around a value"),
    Case("coding in any case", request(b"tRANSFER-eNCODING: CHUNKED", body=chunks()), "no case"),
    Case(
        "coding with an underscore",
        request(b"Transfer_Encoding: chunked", LENGTH),
        "another name; no environment variables are made of names here",
    ),
    Case("chunk size with leading zeros", chunked(b"0" * 40 + HEX), "1*HEXDIG"),
    Case("chunk size in capitals", chunked(HEX.upper()), "HEXDIG in either case"),
    Case("chunk extension", chunked(HEX + b";a=b"), "must be ignored"),
    Case("chunk extension, quoted", chunked(HEX + b';a="b;c"'), "must be ignored"),
    Case("chunk extension, huge", chunked(HEX + b";" + b"a" * 100_000), "nothing of it is kept"),
    Case("last chunk of many zeros", chunked(end=b"000\r\n\r\n"), "1*('0')"),
    Case("trailer", chunked(end=b"0\r\nX-T: 1\r\n\r\n"), "read and dropped"),
    Case("8 bits in a value", request(b"X-A: \xe9\xff", LENGTH), "obs-text, passed on as it came"),
    Case("empty lines before it", b"\r\n\r\n" + request(LENGTH), "should be ignored"),
    Case(
        "two spaces before the path",
        request(LENGTH, first=b"POST  " + PATH + b" HTTP/1.1"),
        "the parser drops blanks around the target, which cannot hold any",
    ),
    Case(
        "two spaces behind the path",
        request(LENGTH, first=b"POST " + PATH + b"  HTTP/1.1"),
        "the same",
    ),
    Case(
        "fragment",
        request(LENGTH, first=b"POST " + PATH + b"#x HTTP/1.1"),
        "the parser drops it; it is never passed on",
    ),
    Case(
        "whole address",
        request(LENGTH, first=b"POST http://localhost" + PATH + b" HTTP/1.1"),
        "must be taken; it agrees with Host",
    ),
    Case(
        "Connection names the length",
        request(b"Connection: content-length", LENGTH),
        "the length is a fact of this connection, and told anew on the next one",
    ),
    Case(
        "wish for a websocket",
        request(b"Connection: upgrade", b"Upgrade: websocket", LENGTH),
        "may be ignored",
        closes=True,
    ),
    Case(
        "wish for HTTP/2",
        request(b"Connection: upgrade, http2-settings", b"Upgrade: h2c", LENGTH),
        "may be ignored",
        closes=True,
    ),
)
