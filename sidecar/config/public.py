"""From what the file says of the public listener to the one that is served.

It is shut unless somebody says who may come in: clients with a key, those whom Cloudflare Access
lets through, or everybody.
"""

from collections.abc import Mapping

from sidecar.config import base_url, client_keys
from sidecar.config.base_url import LOOPBACK
from sidecar.config.faults import KeyPath, Report, shown
from sidecar.config.schema import AccessSection, ClientKeysSection, PublicSection
from sidecar.config.snapshot import Access, Listener, Public
from sidecar.policy.clients import ClientKey
from sidecar.policy.locality import address
from sidecar.policy.rate import ClientBounds
from sidecar.policy.routing import RouteTable

PATH: KeyPath = ("listeners", "public")
DOMAIN = "cloudflareaccess.com"
CERTS = "/cdn-cgi/access/certs"

_MAKE_A_KEY = "make one with `llm-sidecar keys add NAME`"
_MOST_FAULTS = 10  # that are told of one file of keys


def listener_of(section: PublicSection) -> Listener:
    """Where it listens: on loopback, always."""
    return Listener(
        LOOPBACK,
        section.port,
        tuple(origin.lower().rstrip("/") for origin in section.origins),
        section.keepalive,
        section.commit_after,
    )


def resolve_public(
    section: PublicSection, files: Mapping[str, bytes | str], routes: RouteTable, report: Report
) -> Public:
    """The listener, as far as it can be built; whatever is wrong is in the report."""
    keys = (
        None
        if section.keys is None
        else keys_of(section.keys, (*PATH, "keys", "file"), files, report)
    )
    access = None if section.access is None else _access(section.access, report)
    if section.keys is None and section.access is None and not section.i_know_this_is_open:
        report.error(
            PATH, "neither keys nor access, so that everybody could come in",
            "keys: {file: keys.txt}",
            f"{_MAKE_A_KEY}; if everybody may use it, add i_know_this_is_open: true",
            at_key=True,
        )  # fmt: skip
    if not any(route.public for route in routes.routes):
        report.warn(
            PATH, "no route that it offers", "public: true at a route",
            "until then every request there is a 404",
        )  # fmt: skip
    per_key, per_source = section.limits.per_key, section.limits.per_source
    return Public(
        listener=listener_of(section),
        keys=keys,
        access=access,
        per_key=ClientBounds(per_key.requests, per_key.bytes, per_key.streams),
        per_source=ClientBounds(
            per_source.requests, per_source.bytes, per_source.streams, per_source.failures
        ),
        early_head=section.early_head,
    )


def keys_of(
    section: ClientKeysSection, path: KeyPath, files: Mapping[str, bytes | str], report: Report
) -> tuple[ClientKey, ...]:
    """The keys of a file that is named at `path`."""
    name = shown(section.file)
    content = files.get(section.file, "it was not read")
    if isinstance(content, str):
        report.error(path, f"{name}: {content}", "a file with keys of clients", _MAKE_A_KEY)
        return ()
    found = client_keys.parse(content)
    for number, what, expected in found.faults[:_MOST_FAULTS]:
        report.error(path, f"{name}, line {number}: {what}", expected)
    if len(found.faults) > _MOST_FAULTS:
        left = len(found.faults) - _MOST_FAULTS
        report.error(path, f"{name}: {left} more such lines", client_keys.A_LINE)
    if not content.strip():
        report.error(
            path, f"{name}: an empty file", "at least one key",
            f"{_MAKE_A_KEY}; a file with nothing but a comment lets nobody in",
        )  # fmt: skip
    elif not found.lines and not found.faults:
        report.warn(path, f"{name}: no key", "at least one", f"nobody can come in; {_MAKE_A_KEY}")
    return found.keys


def _access(section: AccessSection, report: Report) -> Access:
    domain = section.team if "." in section.team else f"{section.team}.{DOMAIN}"
    issuer = f"https://{domain}"
    if section.certs_url is not None:
        _check_url(section.certs_url, report)
    return Access(issuer, section.audience, section.certs_url or issuer + CERTS)


def _check_url(url: str, report: Report) -> None:
    path = (*PATH, "access", "certs_url")
    try:
        found = base_url.read(url)
    except ValueError as error:
        report.error(path, shown(url), str(error))
        return
    here = address(found.host)
    is_loopback = found.host == "localhost" or (here is not None and here.is_loopback)
    if found.scheme != "https" and not is_loopback:
        report.error(
            path, shown(url), "a URL that begins with https://",
            "whoever could answer in its place could let in anybody",
        )  # fmt: skip
