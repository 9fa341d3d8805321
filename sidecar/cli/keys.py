"""`llm-sidecar keys`: makes, lists and revokes the keys of clients.

The file is replaced as a whole, under a lock, and keeps its mode; a new one is for its owner only.
"""

import argparse
import fcntl
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from sidecar.cli.source import find
from sidecar.cli.tables import table
from sidecar.config import client_keys, load
from sidecar.config.client_keys import KeyFile
from sidecar.config.faults import ConfigError, did_you_mean

USUAL_NAME = "keys.txt"
CHANCE = 32  # bytes of a key


class Refused(Exception):
    """It was not done; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the keys are, the configuration there is, and whether that names this file."""

    path: str
    configuration: str | None = None
    is_configured: bool = False


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command with its own commands."""
    keys = commands.add_parser("keys", help="make, list and revoke keys of clients")
    own = keys.add_subparsers(title="commands", metavar="COMMAND", required=True)
    texts: tuple[tuple[str, Callable[[argparse.Namespace], None], str], ...] = (
        ("add", _add, "make a key for a client, and show it once"),
        ("list", _list, "show whose keys there are"),
        ("remove", _remove, "revoke the key of a client"),
    )
    for name, act, text in texts:
        parser = own.add_parser(name, help=text)
        if act is not _list:
            parser.add_argument("name", metavar="NAME", help="the client's name")
        parser.add_argument(
            "--config", metavar="FILE", help="the configuration that names the file"
        )
        parser.add_argument("--file", metavar="FILE", help="the file with the keys")
        parser.set_defaults(command=_run, act=act)


def _run(options: argparse.Namespace) -> int:
    try:
        options.act(options)
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _place(options: argparse.Namespace) -> Place:
    """The file that is meant: a named one, that of the configuration, or the usual one beside it.

    Raises ConfigError where a configuration that matters cannot be read.
    """
    config, file = find(options.config, os.environ), options.file
    try:
        named = [] if config is None else load.client_keys_files(config, os.environ)
    except ConfigError:
        if file is None or options.config is not None:
            raise
        named = []  # it is only asked whether it names the same file
    if file is not None:
        known = {os.path.realpath(one) for one in named}
        return Place(file, config, os.path.realpath(file) in known)
    if named:
        return Place(named[0], config, True)
    return Place(os.path.join(os.path.dirname(config or ""), USUAL_NAME), config)


def _add(options: argparse.Namespace) -> None:
    name, place = options.name, _place(options)
    if not client_keys.is_name(name):
        raise Refused(f"{name!r} cannot be the name of a key; take {client_keys.A_NAME}.")
    with _changing(place.path, may_be_new=True) as (content, write):
        held = _parsed(content, place.path)
        taken = next(
            (one for one in held.lines if one.key.name.casefold() == name.casefold()), None
        )
        if taken is not None:
            raise Refused(
                f"{taken.key.name!r} has a key already ({place.path}, line {taken.number}). Take "
                f"another name, or revoke it with `llm-sidecar keys remove {taken.key.name}`."
            )
        key, line = _made(name)
        write(client_keys.with_key(content, line))
    print(key, flush=True)
    print(_next_steps(name, place), file=sys.stderr)


def first_key(path: str, name: str) -> str | None:
    """Make a key where a file has none yet; None where it has. Raises Refused."""
    with _changing(path, may_be_new=True) as (content, write):
        if _parsed(content, path).lines:
            return None
        key, line = _made(name)
        write(client_keys.with_key(content, line))
    return key


def _made(name: str) -> tuple[str, str]:
    """A new key and its line."""
    key = client_keys.PREFIX + secrets.token_urlsafe(CHANCE)
    return key, client_keys.written(name, key, datetime.now(UTC).date().isoformat())


def _next_steps(name: str, place: Place) -> str:
    lines = [
        f"This is the key of {name!r}. It is not shown again: {place.path} has only its digest.",
        "Clients send it as `Authorization: Bearer KEY` or as `x-api-key: KEY`.",
    ]
    if place.is_configured:
        lines.append("A running sidecar takes it up by itself.")
    else:
        lines += [
            f"Now name the file in the configuration ({place.configuration or 'sidecar.yaml'}):",
            f"  listeners: {{public: {{keys: {{file: {_relative(place)}}}}}}}",
            "or, for clients that come without a tunnel, as those of a gateway do:",
            f"  listeners: {{data: {{keys: {{file: {_relative(place)}}}}}}}",
        ]
    return "\n".join(lines)


def _relative(place: Place) -> str:
    """The file as the configuration would call it: one beside it or below by its relative path."""
    folder = os.path.dirname(os.path.abspath(place.configuration or "sidecar.yaml"))
    relative = os.path.relpath(os.path.abspath(place.path), folder)
    return os.path.abspath(place.path) if relative.startswith("..") else relative


def _list(options: argparse.Namespace) -> None:
    path = _place(options).path
    held = client_keys.parse(_content(path))
    if held.lines:
        print(table(("NAME", "ADDED"), [(one.key.name, one.note or None) for one in held.lines]))
    elif not held.faults:
        print(f"There is no key in {path}.")
    _check(held, path)


def _remove(options: argparse.Namespace) -> None:
    path = _place(options).path
    with _changing(path, may_be_new=False) as (content, write):
        held = client_keys.parse(content)
        asked = options.name.casefold()
        line = next((one for one in held.lines if one.key.name.casefold() == asked), None)
        if line is None:
            hint = did_you_mean(options.name, [one.key.name for one in held.lines])
            raise Refused(f"There is no key of {options.name!r} in {path}{hint and '; ' + hint}.")
        write(client_keys.without_key(content, line.number))
    print(f"The key of {line.key.name!r} is revoked as soon as a running sidecar has read {path}.")
    if len(held.lines) == 1:
        print("It was the last one: nobody can come in by a key now.")


def _parsed(content: bytes, path: str) -> KeyFile:
    held = client_keys.parse(content)
    _check(held, path)
    return held


def _check(held: KeyFile, path: str) -> None:
    if held.faults:
        lines = [f"{path}, line {at}: {what}, expected {want}" for at, what, want in held.faults]
        raise Refused("\n".join([*lines, "Mend or delete these lines first."]))


def _content(path: str, *, may_be_new: bool = False) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        if may_be_new:
            return b""
        raise Refused(
            f"There is no file {path}. `llm-sidecar keys add NAME` makes it; another one is named "
            "with --file or --config."
        ) from None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from None


@contextmanager
def _changing(path: str, *, may_be_new: bool) -> Iterator[tuple[bytes, Callable[[bytes], None]]]:
    """A file's content and how to replace it; nobody else does meanwhile."""
    real = os.path.realpath(path)
    folder = os.path.dirname(real)
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"The folder {folder} cannot be opened: {error.strerror}.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield _content(real, may_be_new=may_be_new), lambda content: _replace(real, content)
    finally:
        os.close(lock)


def _replace(path: str, content: bytes) -> None:
    """A reader finds the old file or the new one, whole; the mode stays what it was."""
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".keys-", dir=os.path.dirname(path))
        with open(descriptor, "wb") as file:
            with suppress(FileNotFoundError):  # a new one is for its owner only
                before = os.stat(path)
                with suppress(PermissionError):
                    os.chown(descriptor, before.st_uid, before.st_gid)
                os.chmod(descriptor, before.st_mode & 0o7777)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
        raise Refused(f"{path} cannot be written: {error.strerror}.") from None
