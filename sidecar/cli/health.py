"""The command `llm-sidecar health`: asks a running sidecar's admin listener how it is.

Containers ask every few seconds, so it loads nothing but itself, and reads no configuration.
"""

import argparse
import sys
from http.client import HTTPConnection, HTTPException

USUAL = "127.0.0.1:14401"
LIMIT = 2.0  # seconds; nothing that serves needs longer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `ask` reads."""
    parser.add_argument(
        "address",
        metavar="ADDRESS:PORT",
        nargs="?",
        default=USUAL,
        help=f"where its admin listener is; default: {USUAL}",
    )
    parser.add_argument(
        "--ready",
        action="store_true",
        help="ask whether it takes new requests (/readyz), not only whether it lives (/livez)",
    )


def ask(options: argparse.Namespace) -> int:
    """Ask once; 0 well, 1 not well or nobody there, 2 wrong usage."""
    host, _, port = options.address.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 65536):
        print(f"found {options.address!r}, expected ADDRESS:PORT", file=sys.stderr)
        return 2
    path = "/readyz" if options.ready else "/livez"
    connection = HTTPConnection(host.strip("[]"), int(port), timeout=LIMIT)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        print(f"Nobody answers at {options.address}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    print(f"{path}: {status}")
    return 0 if status == 200 else 1


def main(arguments: list[str]) -> int:
    """The command alone; the exit code."""
    parser = argparse.ArgumentParser(prog="llm-sidecar health")
    add_arguments(parser)
    return ask(parser.parse_args(arguments))
