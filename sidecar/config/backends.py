"""From what the file says of a backend to the backend that the program talks to.

Fills in the preset, corrects the address, fetches secrets and authorities. Everything that is
wrong goes into the report; the files have been read already.
"""

import hashlib
import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sidecar.config import base_url, credentials
from sidecar.config.faults import KeyPath, Report, shown
from sidecar.config.guest import Guest
from sidecar.config.presets import PRESETS, Preset
from sidecar.config.schema import (
    AuthSection,
    BackendSection,
    BreakerSection,
    DefaultTimeoutsSection,
    ForwardSection,
    NamedSecretSection,
    QueueSection,
    QuirksSection,
    SecretSection,
)
from sidecar.config.secret import Secret
from sidecar.config.snapshot import Backend, Credential, Forward, Place, Quirks, UsageInStream
from sidecar.dialects import DIALECTS, by_name
from sidecar.policy.admission import Bounds
from sidecar.policy.breaker import BreakerSettings, RateSettings, SlowSettings
from sidecar.policy.health import ProbeSettings
from sidecar.policy.routing import Timeouts
from sidecar.wire.contract import Dialect

_PUBLIC_HOSTS = frozenset(
    address.host
    for preset in PRESETS.values()
    if preset.base_url is not None
    and base_url.locality((address := base_url.read(preset.base_url)).host) is None
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a configuration refers to: variables and files, and where it will listen.

    Paths are relative to `folder`, where the configuration stands. A file that could not be read is
    there as the sentence that says why.
    """

    environ: Mapping[str, str]
    files: Mapping[str, bytes | str]
    listeners: tuple[tuple[tuple[str, ...], int], ...] = ()
    folder: str = ""
    guest: Guest | None = None  # whose section is in the file too


def with_preset(backend: BackendSection) -> BackendSection:
    """The backend with everything that its preset brings."""
    preset = PRESETS.get(backend.preset or "", Preset())
    quirks, asked = backend.quirks, backend.deployment or "{deployment}"
    path = quirks.path or preset.path.replace("{deployment}", asked)
    return backend.model_copy(
        update={
            "dialect": backend.dialect or (preset.dialect if backend.preset else None),
            "base_url": backend.base_url or preset.base_url,
            "model": backend.model or backend.deployment or preset.model,
            "auth": backend.auth or _usual_auth(backend, preset),
            "quirks": quirks.model_copy(
                update={
                    "path": path,
                    "query": {**preset.query, **quirks.query},
                    "usage_in_stream": quirks.usage_in_stream or preset.usage_in_stream,
                }
            ),
        }
    )


def _usual_auth(backend: BackendSection, preset: Preset) -> AuthSection | None:
    # a vendor's key must not go to an address that is not the vendor's
    if preset.key is None or (backend.base_url and preset.base_url):
        return None
    ref = SecretSection(env=preset.key.env)
    if preset.key.place == "bearer":
        return AuthSection(bearer=ref)
    named = NamedSecretSection(name=preset.key.name, value=ref)
    return AuthSection(header=named) if preset.key.place == "header" else AuthSection(query=named)


def _usual_place(section: BackendSection, dialect: Dialect) -> tuple[Place, str]:
    """Where a vendor takes its keys; where no vendor is named, where the dialect does."""
    key = PRESETS.get(section.preset or "", Preset()).key
    if key is not None:
        return key.place, key.name
    name = dialect.key_header
    return ("bearer" if name == "authorization" else "header"), name


def pasted(dialect: Dialect) -> tuple[str, ...]:
    """The paths that people leave at the end of a base URL."""
    if dialect.base_prefix:
        return tuple(dialect.known_suffixes)
    # where nothing belongs behind the host, no path of any client does
    others = [path for one in DIALECTS for path in (one.base_prefix, *one.endpoints)]
    return (*dialect.known_suffixes, *others)


class BackendResolver:
    """Resolves one backend after the other.

    `secrets` holds every value that must not print, `barred` the backends that `local_only` has
    taken out.
    """

    def __init__(
        self,
        around: Surroundings,
        defaults: DefaultTimeoutsSection,
        local_only: bool,
        report: Report,
    ) -> None:
        self._around, self._defaults, self._report = around, defaults, report
        self._local_only = local_only
        self.secrets: list[str] = []
        self.barred: set[str] = set()

    def resolve(self, name: str, written: BackendSection) -> Backend | None:
        """The backend, or None where it is too broken to go on with."""
        path: KeyPath = ("backends", name)
        section = with_preset(written)
        preset = PRESETS.get(section.preset or "", Preset())
        dialect = by_name(section.dialect) if section.dialect else None
        if dialect is None:
            self._report.error(
                path, "neither preset nor dialect", "one of them", "write dialect: openai"
            )
            return None
        quirks = self._quirks(path, section.quirks)
        url = "" if preset.echo else self._base_url(path, section, dialect)
        if url is None:
            return None
        local = True if preset.echo else locality(url)
        enabled = section.enabled and not self._bars(name, section, local)
        # a backend that is switched off may lack what it would need
        auth = self._auth(path, section, dialect) if enabled else None
        ca = self._authorities(path, section.ca) if section.ca and enabled else None
        limits = section.timeouts
        return Backend(
            name=name,
            preset=section.preset,
            dialect=dialect,
            base_url=url,
            enabled=enabled,
            model=section.model,
            models={asked.casefold(): own for asked, own in section.models.items()},
            context=section.context,
            batch=section.batch,
            auth=auth,
            timeouts=Timeouts(
                connect=limits.connect or self._defaults.connect,
                first_token=limits.first_token or self._defaults.first_token,
                idle=limits.idle or self._defaults.idle,
                whole=limits.whole or self._defaults.whole,
            ),
            probe=ProbeSettings(
                math.inf if section.probe.every is None else section.probe.every,
                section.probe.timeout,
            ),
            quirks=quirks,
            traits=preset.traits,
            ca=ca,
            proxy=section.proxy == "env",
            echo=preset.echo,
            local=local,
            fingerprint=_fingerprint(
                dialect.name, url, quirks.path, _reference(auth), ca or "", section.proxy or ""
            ),
            bounds=bounds(path, section.in_flight, section.queue, self._report),
            breaker=self._breaker(path, section.breaker),
        )

    def _breaker(self, path: KeyPath, section: BreakerSection) -> BreakerSettings:
        rate, slow = section.rate, section.slow
        if section.ceiling < section.rest:
            self._report.error(
                (*path, "breaker", "ceiling"), f"{section.ceiling:g} s",
                f"at least the rest of {section.rest:g} s",
            )  # fmt: skip
        return BreakerSettings(
            failures=section.failures,
            rate=RateSettings(rate.share, rate.window, rate.calls),
            slow=SlowSettings(slow.share, slow.first_token, slow.calls) if slow else None,
            rest=section.rest,
            ceiling=section.ceiling,
            trials=section.trials,
        )

    def _bars(self, name: str, section: BackendSection, local: bool | None) -> bool:
        if not (self._local_only and section.enabled and local is False):
            return False
        self.barred.add(name)
        self._report.warn(
            ("backends", name), "a public address", "a local one under --local-only",
            "the backend is switched off",
        )  # fmt: skip
        return True

    def _base_url(self, path: KeyPath, section: BackendSection, dialect: Dialect) -> str | None:
        path, prefix = (*path, "base_url"), dialect.base_prefix
        if section.base_url is None:
            example = f"http://127.0.0.1:8000{prefix}"
            self._report.error(path, "nothing", f"an address such as {example}")
            return None
        around = (section.quirks.path or "{path}").removesuffix("{path}").rstrip("/")
        url, taken = base_url.trim(section.base_url, (*pasted(dialect), around))
        try:
            address = base_url.read(url)
        except ValueError as error:
            self._report.error(path, shown(section.base_url), str(error))
            return None
        if base_url.is_own(address, self._around.listeners):
            self._report.error(
                path, "an address of this sidecar itself", "the address of a backend",
                "requests would go round in circles",
            )  # fmt: skip
            return None
        if taken:
            self._report.warn(
                path, f"{''.join(reversed(taken))!r} at the end", "the address before it",
                f"corrected to {url}",
            )  # fmt: skip
        elif prefix and not around and not base_url.has_path(url):
            self._report.warn(
                path, "a host without a path", "the path too where there is one",
                f"most servers want {url}{prefix}",
            )  # fmt: skip
        return url

    def _quirks(self, path: KeyPath, quirks: QuirksSection) -> Quirks:
        around = quirks.path or "{path}"
        if "{deployment}" in around:
            self._report.error(
                path, "no deployment", "the key deployment with the name of the deployment"
            )
        self._no_credentials((*path, "quirks", "header"), "header", quirks.header)
        self._no_credentials((*path, "quirks", "query"), "parameter", quirks.query)
        return Quirks(
            rename=quirks.rename,
            drop=quirks.drop,
            set=quirks.set,
            usage_in_stream=UsageInStream(quirks.usage_in_stream or UsageInStream.ON_REQUEST),
            path=around,
            query=quirks.query,
            header=quirks.header,
        )

    def _no_credentials(self, path: KeyPath, kind: str, pairs: Mapping[str, str]) -> None:
        for name, value in pairs.items():
            if not credentials.names_one(name) and not credentials.is_key(value):
                continue
            self._report.error(
                (*path, name), f"the {kind} {name}, which looks like a credential",
                f"a {kind} that holds no secret", "credentials belong in auth", at_key=True,
            )  # fmt: skip

    def _auth(
        self, path: KeyPath, section: BackendSection, dialect: Dialect
    ) -> Credential | Forward | None:
        path = (*path, "auth")
        match section.auth:
            case AuthSection(bearer=SecretSection() as ref):
                place: KeyPath = (*path, "bearer")
                found = self._credential(place, "bearer", "authorization", ref)
            case AuthSection(header=NamedSecretSection() as named):
                place = (*path, "header", "value")
                found = self._credential(place, "header", named.name, named.value)
            case AuthSection(query=NamedSecretSection() as named):
                place = (*path, "query", "value")
                found = self._credential(place, "query", named.name, named.value)
            case AuthSection(forward=ForwardSection() as forward):
                return self._forward(path, section, forward, dialect)
            case _:
                return None
        return found and self._with_further(path, section, found)

    def _forward(
        self, path: KeyPath, section: BackendSection, forward: ForwardSection, dialect: Dialect
    ) -> Forward:
        otherwise = None
        if forward.otherwise is not None:
            place, name = _usual_place(section, dialect)
            at: KeyPath = (*path, "forward", "else")
            otherwise = self._credential(at, place, name, forward.otherwise)
            otherwise = otherwise and self._with_further(path, section, otherwise)
        return Forward(forward.replace, otherwise)

    def _with_further(
        self, path: KeyPath, section: BackendSection, first: Credential
    ) -> Credential:
        refs = section.auth.further if section.auth is not None else ()
        found = [self.secret((*path, "further", nth), ref) for nth, ref in enumerate(refs)]
        return replace(first, further=tuple(one for one in found if one is not None))

    def _credential(
        self,
        path: KeyPath,
        place: Place,
        name: str,
        ref: SecretSection,
    ) -> Credential | None:
        secret = self.secret(path, ref)
        return None if secret is None else Credential(place, name, secret)

    def secret(self, path: KeyPath, ref: SecretSection) -> Secret | None:
        """What a reference leads to; None with a fault in the report."""
        if ref.env is not None:
            origin, value = f"env {ref.env}", self._around.environ.get(ref.env)
            if value is None:
                # it may be the key itself, put here by mistake
                name = ref.env if credentials.names_variable(ref.env) else shown(ref.env)
                self._report.error(
                    (*path, "env"), f"{name}, which is not set", "a variable that holds the key",
                    f"export {name}=…" if name == ref.env else "",
                )  # fmt: skip
                return None
        else:
            assert ref.file is not None
            origin, value = f"file {ref.file}", self._text((*path, "file"), ref.file)
            if value is None:
                return None
        value = value.strip()
        if not value or not value.isprintable() or not value.isascii():
            found = "nothing in it" if not value else "more than one line of ASCII text (not shown)"
            self._report.error(path, f"{found} ({origin})", "a key")
            return None
        self.secrets.append(value)
        return Secret(value, origin)

    def _authorities(self, path: KeyPath, file: str) -> str | None:
        path = (*path, "ca")
        text = self._text(path, file)
        if text is None:
            return None
        text = text.encode("ascii", "ignore").decode()  # comments may have other letters
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError):
            self._report.error(
                path, f"{file}, which holds no certificate", "certificates in PEM form"
            )
            return None
        return text

    def _text(self, path: KeyPath, file: str) -> str | None:
        content = self._around.files.get(file, "it was not read")
        if isinstance(content, str):
            self._report.error(path, f"{shown(file)}: {content}", "a file that can be read")
            return None
        try:
            return content.decode()
        except UnicodeDecodeError:
            self._report.error(path, f"{shown(file)}: not text", "a text file")
            return None


def bounds(
    path: KeyPath, in_flight: int | None, queue: QueueSection | None, report: Report
) -> Bounds:
    """How many requests may be in flight and wait; `path` is where both keys stand."""
    if queue is not None and in_flight is None:
        report.error(
            (*path, "queue"), "a queue", "in_flight beside it",
            "nothing waits where any number may be in flight", at_key=True,
        )  # fmt: skip
    queue = queue or QueueSection()
    return Bounds(in_flight, queue.size, queue.wait)


def locality(url: str) -> bool | None:
    """Whether a backend's address is local or public; None where only DNS can tell."""
    host = base_url.read(url).host
    return False if host in _PUBLIC_HOSTS else base_url.locality(host)


def _reference(auth: Credential | Forward | None) -> str:
    match auth:
        case Credential(place, name, secret, further):
            origins = " ".join(one.origin for one in (secret, *further))
            return f"{place} {name} {origins}"
        case Forward(otherwise=other):
            return f"forward {_reference(other)}"
        case None:
            return ""


def _fingerprint(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
