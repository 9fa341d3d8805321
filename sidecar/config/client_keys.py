"""The file with the keys of clients: one a line, name, digest and date.

It is made for editing by hand: a line that is deleted is a key that is revoked. A key itself
stands nowhere; it has so much chance in it that a plain digest gives nothing away.
"""

import re
from dataclasses import dataclass, field

from sidecar.policy.clients import ClientKey, digest

PREFIX = "sk-sidecar-"
HEAD = """\
# Keys of clients: name, digest, date. `llm-sidecar keys add NAME` adds one.
# To revoke a key, delete its line.
"""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}")
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")

A_NAME = "a name of at most 63 letters, digits and . _ @ + -, such as laptop"
A_LINE = "a name, sha256: with 64 hexadecimal digits, and a date"


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A key with the rest of its line: a date, as a rule."""

    key: ClientKey
    note: str
    number: int  # of the line, counting from one


@dataclass(slots=True)
class KeyFile:
    """What a file holds, and each line that is none: where, what is wrong, what was expected."""

    lines: list[KeyLine] = field(default_factory=list)
    faults: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def keys(self) -> tuple[ClientKey, ...]:
        """The keys, in their order."""
        return tuple(line.key for line in self.lines)


def is_name(name: str) -> bool:
    """Whether a key may be called so."""
    return _NAME.fullmatch(name) is not None


def parse(content: bytes) -> KeyFile:
    """Read a file. Nothing of a line that is none is repeated: it may be a key."""
    found = KeyFile()
    names: dict[str, int] = {}
    digests: dict[bytes, int] = {}
    for number, line in enumerate(content.decode("utf-8-sig", "replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        name, rest = words[0], words[1:]
        matched = _DIGEST.fullmatch(rest[0]) if rest else None
        if not is_name(name):
            found.faults.append((number, "something that is no name", A_NAME))
        elif matched is None:
            what = "no digest" if not rest else "something that is no digest"
            found.faults.append((number, what, A_LINE))
        elif (first := names.setdefault(name.casefold(), number)) != number:
            found.faults.append((number, f"the name of line {first} again", "each name once"))
        else:
            value = bytes.fromhex(matched[1])
            if (first := digests.setdefault(value, number)) != number:
                found.faults.append((number, f"the key of line {first} again", "each key once"))
                continue
            found.lines.append(KeyLine(ClientKey(name, value), " ".join(rest[1:]), number))
    return found


def written(name: str, key: str, date: str) -> str:
    """The line of a key."""
    return f"{name}  sha256:{digest(key).hex()}  {date}\n"


def with_key(content: bytes, line: str) -> bytes:
    """A file's content with one more line."""
    text = content or HEAD.encode()
    return text + (b"" if text.endswith(b"\n") else b"\n") + line.encode()


def without_key(content: bytes, number: int) -> bytes:
    """A file's content without one line; all others stay as they are.

    Where nothing is left a comment is: an empty file is a fault, and then the old keys stay good.
    """
    lines = content.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    left = "".join([*lines[: number - 1], *lines[number:]])
    return (left if left.strip() else HEAD).encode("utf-8", "surrogateescape")
