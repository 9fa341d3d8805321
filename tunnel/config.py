"""The section `tunnel:` as people write it, and what it comes to.

`settle` reads no file and no variable by itself: they come in as values. Secrets are references
(`{env: NAME}`, `{file: PATH}`), never literals, and never print.
"""

import base64
import binascii
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import from_json

from tunnel.settings import Kind, Probe, Settings

MOST_GRACE = 180.0  # seconds; cloudflared takes no more

_DURATION = r"^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _duration(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and re.fullmatch(_DURATION, value):
        parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", value)
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    else:
        raise ValueError("a duration such as 500ms, 20s or 2m (a plain number means seconds)")
    if not 0.001 <= seconds <= 86_400:
        raise ValueError("a duration between 1ms and 24h")
    return seconds


def _grace(value: float) -> float:
    if value > MOST_GRACE:
        raise ValueError("a duration of at most 3m, which is all that cloudflared takes")
    return value


def _truth(value: object) -> object:
    """What a variable of the environment was replaced by is text."""
    value = {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _url(value: str, *, path: bool) -> str:
    parts = urlsplit(value)
    try:
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    extra = parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in ("http", "https") or not host or extra:
        raise ValueError("an address such as https://llm.example.com")
    if not path and parts.path.strip("/"):
        raise ValueError("an address without a path, such as https://llm.example.com")
    return value.rstrip("/")


def _public_url(value: str) -> str:
    return _url(value, path=False)


def _control_url(value: str) -> str:
    return _url(value, path=True)


def _origin(value: str) -> str:
    value = _url(value, path=False)
    if not value.startswith("http://"):
        raise ValueError("an address such as http://127.0.0.1:14402")
    return value


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    is_port = port.isdecimal() and 0 < int(port) < 65536
    if not (colon and host.strip("[]") and "/" not in host and is_port):
        raise ValueError("an address with a port, such as 127.0.0.1:18080")
    return value


def _uuid(value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError:
        raise ValueError("the tunnel's id, a UUID") from None


def _written(seconds: float) -> str:
    return f"{int(seconds)}s" if seconds == int(seconds) else f"{round(seconds * 1000)}ms"


Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Duration = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(_written, return_type=str, when_used="json"),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"pattern": _DURATION}],
         "examples": ["500ms", "20s", "2m"]}
    ),
]  # fmt: skip
Truth = Annotated[bool, BeforeValidator(_truth)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]


class Section(BaseModel):
    """A mapping with known keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: object) -> object:
        """A key with nothing behind it says no more than a missing one."""
        return {} if value is None else value


def _reference(value: object) -> object:
    if isinstance(value, dict | Section):
        return value
    raise ValueError(
        "{env: NAME} or {file: PATH}: a secret never stands in the configuration itself"
    )


def _one_of(section: Section, *names: str) -> None:
    if sum(getattr(section, name) not in (None, False) for name in names) != 1:
        raise ValueError(f"exactly one of {', '.join(names)}")


class SecretSection(Section):
    """Where a secret comes from."""

    env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*$")] | None = None
    """Name of a variable of the environment."""
    file: Text | None = None
    """Path, relative to the configuration's folder."""

    @model_validator(mode="after")
    def _one(self) -> "SecretSection":
        _one_of(self, "env", "file")
        return self


SecretRef = Annotated[SecretSection, BeforeValidator(_reference)]

_SECRET_HEADER = re.compile(r".*(auth|cookie|key|secret|token|password).*", re.IGNORECASE)


class CredentialsSection(Section):
    """A tunnel that was made with `cloudflared tunnel create`."""

    file: Text
    """The credentials file, relative to the configuration's folder."""
    id: Annotated[str, AfterValidator(_uuid)] | None = None
    """The tunnel's id; as a rule it stands in the file."""


class ProbeSection(Section):
    """The end-to-end probe through the public name."""

    url: Annotated[Text, AfterValidator(_public_url)] | None = None
    """The public name; learned from cloudflared where it knows it."""
    every: Duration = 20.0
    """Between two probes."""
    connect: Annotated[Text, AfterValidator(_address)] | None = None
    """An address to dial in place of the name's own."""
    ca: Text | None = None
    """PEM file with further certificate authorities."""
    headers: dict[HeaderName, SecretRef | Text] = {}
    """Headers of every probe, such as those of a service token; a secret is a reference."""
    control: tuple[Annotated[Text, AfterValidator(_control_url)], ...] = ()
    """Addresses elsewhere: while none of them answers, a failing probe restarts nothing."""
    secret: SecretRef | None = None
    """What probes prove themselves with; by default the tunnel's own secret."""


class TunnelSection(Section):
    """Exposes the public listener through Cloudflare."""

    token: SecretRef | None = None
    """The token of a named tunnel."""
    credentials: CredentialsSection | None = None
    """The credentials of a named tunnel, in place of a token."""
    quick: Truth = False
    """A tunnel without an account, under a name that changes with every start."""
    protocol: Literal["auto", "quic", "http2"] = "auto"
    """How cloudflared talks to the edge."""
    grace: Annotated[Duration, AfterValidator(_grace)] = 20.0
    """How long requests in flight may go on when it stops."""
    binary: Text = "cloudflared"
    """A name in the PATH, or a path."""
    probe: ProbeSection = ProbeSection()
    """The end-to-end probe."""
    foreign_ingress: Literal["drain", "allow"] = "drain"
    """What to do when the edge pushes rules that lead elsewhere."""
    origin: Annotated[Text, AfterValidator(_origin)] | None = None
    """Only for llm-tunnel alone: what it exposes; by default http://127.0.0.1:14402."""
    i_know_this_is_open: Truth = False
    """Only for llm-tunnel alone: the origin need not be a sidecar's public listener."""

    @model_validator(mode="after")
    def _one(self) -> "TunnelSection":
        _one_of(self, "token", "credentials", "quick")
        return self


class Complaint(NamedTuple):
    """What is wrong at a place below the section."""

    path: tuple[str | int, ...]
    found: str
    expected: str
    hint: str = ""


class Settled(NamedTuple):
    """What a section comes to: settings (None with complaints), and all values that never print;
    and how many seconds requests in flight get at the end.
    """

    settings: Settings | None
    complaints: list[Complaint]
    secrets: list[str]
    grace: float = 0.0


def check(data: object) -> TunnelSection | list[Mapping[str, Any]]:
    """The section, or pydantic's complaints."""
    try:
        return TunnelSection.model_validate(data)
    except ValidationError as error:
        return [dict(complaint) for complaint in error.errors(include_url=False)]


def settle(
    section: TunnelSection,
    origin: str,
    files: Mapping[str, bytes | str],
    environ: Mapping[str, str],
    folder: str,
) -> Settled:
    """Fetch what the section refers to, and check what needs it.

    `files` holds the content of each file by the path as written, or the sentence that says why it
    cannot be read; `origin` is what the tunnel exposes, `folder` where the configuration stands.
    """
    look = _Look(files, environ)
    if section.origin not in (None, origin):
        look.complain(
            ("origin",), f"{section.origin}", "nothing there",
            "within the sidecar it is the public listener that the tunnel exposes",
        )  # fmt: skip
    kind, secret, tunnel_id = look.credential(section)
    told = section.probe
    headers = {name: look.header(name, value) for name, value in told.headers.items()}
    proof = None if told.secret is None else look.secret(("probe", "secret"), told.secret)
    connect = None
    if told.connect is not None:
        host, _, port = told.connect.rpartition(":")
        connect = host.strip("[]"), int(port)
    ca = None if told.ca is None else look.text(("probe", "ca"), told.ca)
    if kind == "quick" and told.url is not None:
        look.complain(
            ("probe", "url"), told.url, "nothing there",
            "a quick tunnel gets another name with each start, and is asked through that one",
        )  # fmt: skip
    if ca is not None and "-----BEGIN CERTIFICATE-----" not in ca:
        look.complain(("probe", "ca"), "a file without a certificate", "PEM text")
    if look.complaints:
        return Settled(None, look.complaints, look.secrets)
    probe = Probe(
        told.url, told.every, connect=connect, ca=ca, headers=headers, control=told.control
    )
    settings = Settings(
        kind=kind,
        origin=origin,
        secret=secret,
        secret_file=_secret_file(section, folder),
        tunnel_id=tunnel_id,
        protocol=section.protocol,
        grace=section.grace,
        # a name is looked for in the PATH, a path is relative to the configuration
        binary=os.path.join(folder, section.binary) if "/" in section.binary else section.binary,
        probe=probe,
        proof_secret=proof_secret(proof if proof is not None else secret),
        foreign_ingress=section.foreign_ingress,
        open=section.i_know_this_is_open,
    )
    return Settled(settings, [], look.secrets, section.grace)


def _secret_file(section: TunnelSection, folder: str) -> str | None:
    held = section.credentials if section.token is None else section.token
    return None if held is None or held.file is None else os.path.join(folder, held.file)


def proof_secret(text: str | None) -> bytes:
    """What proofs are derived from: the tunnel's own secret where a text holds it, else the text.

    So a token and a credentials file of the same tunnel come to the same. Nothing for None.
    """
    if text is None:
        return b""
    for read in (_token, _credentials):
        found = read(text)
        if found is not None:
            return found[1].encode()
    return text.encode()


class _Look:
    """One look at what a section refers to; collects complaints and secrets."""

    def __init__(self, files: Mapping[str, bytes | str], environ: Mapping[str, str]) -> None:
        self._files, self._environ = files, environ
        self.complaints: list[Complaint] = []
        self.secrets: list[str] = []

    def complain(
        self, path: tuple[str | int, ...], found: str, expected: str, hint: str = ""
    ) -> None:
        self.complaints.append(Complaint(path, found, expected, hint))

    def credential(self, section: TunnelSection) -> tuple[Kind, str | None, str | None]:
        """The kind of tunnel, its secret and its id."""
        if section.token is not None:
            text = self.secret(("token",), section.token)
            found = None if text is None else _token(text)
            if text is not None and found is None:
                self.complain(
                    ("token",), f"{len(text)} characters that are no tunnel token (not shown)",
                    "the text that follows --token in Cloudflare's dashboard",
                )  # fmt: skip
            return "token", text, found[0] if found else None
        if section.credentials is not None:
            path = ("credentials", "file")
            text = self.text(path, section.credentials.file)
            if text is None:
                return "credentials", None, None
            self.secrets.append(text)
            found = _credentials(text)
            if found is None:
                self.complain(
                    path, "a file that holds no tunnel credentials (not shown)",
                    "JSON with AccountTag, TunnelSecret and TunnelID",
                    "`cloudflared tunnel create NAME` writes such a file",
                )  # fmt: skip
                return "credentials", None, None
            self.secrets.append(found[1])
            if section.credentials.id not in (None, found[0]):
                self.complain(
                    ("credentials", "id"), "another id than the file's", found[0], "leave it out"
                )
            return "credentials", text, found[0]
        return "quick", None, None

    def secret(self, path: tuple[str | int, ...], ref: SecretSection) -> str | None:
        """A secret's value, without white space around it."""
        if ref.env is not None:
            value = self._environ.get(ref.env, "").strip()
            if not value:
                self.complain(
                    (*path, "env"), f"the variable {ref.env}, which is not set or empty",
                    "a variable that holds the secret",
                )  # fmt: skip
        else:
            assert ref.file is not None
            value = (self.text((*path, "file"), ref.file) or "").strip()
        if value and not (value.isascii() and value.isprintable()):
            self.complain(path, "more than one line of ASCII text (not shown)", "a secret")
            return None
        if not value:
            return None
        self.secrets.append(value)
        return value

    def header(self, name: str, value: SecretSection | str) -> str:
        """The value of a header of probes; a literal only where the name promises no secret."""
        path = ("probe", "headers", name)
        if isinstance(value, SecretSection):
            return self.secret(path, value) or ""
        if _SECRET_HEADER.fullmatch(name):
            self.complain(path, "a literal (not shown)", "{env: NAME} or {file: PATH}")
        elif not (value.isascii() and value.isprintable()):
            self.complain(path, "unprintable text", "one line of printable ASCII")
        return value

    def text(self, path: tuple[str | int, ...], name: str) -> str | None:
        """A file's text."""
        content = self._files.get(name, "no such file")
        if isinstance(content, str):
            self.complain(path, f"{name}: {content}", "a file that can be read")
            return None
        try:
            text = content.decode()
        except UnicodeDecodeError:
            self.complain(path, f"{name}, which is no UTF-8 text", "a text file")
            return None
        if not text.strip():
            self.complain(path, f"{name}, which is empty", "a file with something in it")
            return None
        return text


def _token(text: str) -> tuple[str, str] | None:
    """The tunnel's id and secret in a token: base64 of JSON {a, t, s}."""
    try:
        told = from_json(base64.b64decode("".join(text.split()), validate=True))
        return str(UUID(told["t"])), _text(told["s"])
    except (binascii.Error, ValueError, TypeError, KeyError, AttributeError):
        return None


def _credentials(text: str) -> tuple[str, str] | None:
    """The tunnel's id and secret in a credentials file."""
    try:
        told = from_json(text)
        return str(UUID(told["TunnelID"])), _text(told["TunnelSecret"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value
