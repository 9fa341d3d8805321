"""`Inbound` + candidate → `UpstreamCall`: relay or patch, then quirks, in this fixed order:
model and usage spliced; `rename`, `drop`, `set` on top-level fields; path, query, headers."""

from collections.abc import Iterable, Mapping

from sidecar.config.address import Key, key_for, url_for
from sidecar.config.snapshot import Backend, UsageInStream
from sidecar.dataplane import headers
from sidecar.dataplane.intake import Inbound
from sidecar.dataplane.upstream import UpstreamCall
from sidecar.policy.routing import Candidate, Route
from sidecar.wire import json, splice
from sidecar.wire.contract import Operation, RequestPatch


def prepare(
    inbound: Inbound, candidate: Candidate, backend: Backend, route: Route, via: str
) -> tuple[UpstreamCall, Key]:
    """The call for one attempt, and the key that it carries.

    `via` is the trail of sidecars that the request came through, this one included.
    """
    key = key_for(backend.auth, inbound.key)
    ours = {
        **backend.quirks.header,
        **key.headers,
        "x-sidecar-via": via,
        "Accept-Encoding": "identity",
    }
    if inbound.upload is not None and inbound.upload.length is not None:
        ours["Content-Length"] = str(inbound.upload.length)
    call = UpstreamCall(
        backend=backend,
        method=inbound.method,
        url=url_for(backend, inbound.path, key.query, headers.passed_query(inbound.query)),
        headers=_merged(headers.towards_backend(inbound.headers), ours),
        body=aiter(inbound.upload) if inbound.upload else _body(inbound, candidate, backend),
        connect=candidate.timeouts.connect,
        stay_local=route.stay_local,
    )
    return call, key


def _merged(theirs: Iterable[tuple[str, str]], ours: Mapping[str, str]) -> Mapping[str, str]:
    """The client's headers, repeated ones joined, and ours in place of theirs in any case."""
    kept: dict[str, tuple[str, str]] = {}
    for name, value in theirs:
        first, before = kept.get(name.lower(), (name, ""))
        kept[name.lower()] = (first, f"{before}, {value}" if before else value)
    kept |= {name.lower(): (name, value) for name, value in ours.items()}
    return dict(kept.values())


def _body(inbound: Inbound, candidate: Candidate, backend: Backend) -> bytes | None:
    if inbound.facts.operation is Operation.OPAQUE:
        return None
    patched = inbound.dialect.patch(inbound.raw, request_patch(inbound, candidate, backend))
    quirks = backend.quirks
    if quirks.rename or quirks.drop or quirks.set:
        patched = _bend(patched, backend)
    return patched


def request_patch(inbound: Inbound, candidate: Candidate, backend: Backend) -> RequestPatch:
    """What must change in the client's bytes for this candidate."""
    facts = inbound.facts
    asks = backend.quirks.usage_in_stream is UsageInStream.ON_REQUEST
    return RequestPatch(
        model=candidate.model if candidate.model != facts.model else None,
        ask_usage=facts.stream and not facts.wants_usage and asks,
    )


def _bend(raw: bytes, backend: Backend) -> bytes:
    """The object with some of its members renamed, left out or set; values keep their bytes."""
    quirks = backend.quirks
    kept: dict[str, bytes] = {}
    for one in splice.members(raw):
        if one.key not in quirks.drop:
            kept[quirks.rename.get(one.key, one.key)] = raw[one.start : one.end]
    kept |= {name: json.dumps(value) for name, value in quirks.set.items()}
    return b"{" + b",".join(json.dumps(name) + b":" + value for name, value in kept.items()) + b"}"
