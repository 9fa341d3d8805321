"""What has arrived: refused for its head or its path, or read as `Inbound`."""

import sys
from collections.abc import Sequence

from aiohttp import web

from sidecar.config.snapshot import Snapshot
from sidecar.dataplane import intake
from sidecar.dataplane.answer import Answer
from sidecar.dataplane.endpoints import Asked
from sidecar.dataplane.guest import Guest
from sidecar.dataplane.intake import Inbound, Upload
from sidecar.dataplane.listener import headers_too_large
from sidecar.dialects import DIALECTS
from sidecar.neutral.problem import Problem, ProblemKind, RequestRefused
from sidecar.policy import doors
from sidecar.policy.routing import nearest
from sidecar.wire import json
from sidecar.wire.contract import Operation, RequestFacts


def check_doors(
    http: web.BaseRequest, asked: Asked, answer: Answer, snapshot: Snapshot | None
) -> None:
    """Raises RequestRefused: web pages, tunnels, foreign names, heads too large or ambiguous."""
    check_framing(http, answer)
    address = http.get_extra_info("sockname")
    problem = doors.refuse(
        http.method,
        http.headers.items(),
        local_address=address[0] if address else None,
        hosts=snapshot.hosts if snapshot else (),
        origins=snapshot.data.origins if snapshot else (),
        json_only=asked.operation is not Operation.OPAQUE,
    )
    if problem is not None:
        raise RequestRefused(problem)
    if origin := http.headers.get("Origin"):
        answer.common |= {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
    if snapshot is not None:
        check_size(http, snapshot)


def check_framing(http: web.BaseRequest, answer: Answer) -> None:
    """Raises RequestRefused for what is not one request beyond doubt."""
    try:
        intake.check_framing(http)
    except RequestRefused:
        answer.closing = True  # whatever comes next on this connection may be part of it
        raise


def check_size(http: web.BaseRequest, snapshot: Snapshot) -> None:
    """Raises RequestRefused for a head that is too large."""
    size = sum(len(name) + len(value) + 4 for name, value in http.raw_headers)
    if size > snapshot.limits.header:
        raise RequestRefused(headers_too_large(snapshot.limits.header))


def preflight(http: web.BaseRequest) -> dict[str, str]:
    """What a browser asks before a page that may come in calls."""
    return {
        "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
        "Access-Control-Allow-Headers": http.headers.get("Access-Control-Request-Headers", "*"),
        "Access-Control-Max-Age": "600",
    }


def trail(http: web.BaseRequest, instance: str) -> str:
    """The trail of sidecars, with this one at its end. Raises RequestRefused where it is on it."""
    before = [one.strip() for one in http.headers.get("x-sidecar-via", "").split(",")]
    if instance in before:
        raise RequestRefused(
            Problem(
                ProblemKind.LOOP,
                "This request has come round to the sidecar that sent it: a backend's address "
                "leads back here. Point `base_url` (or the variable that it comes from) at "
                "the real backend.",
            )
        )
    return ", ".join([one for one in before if one] + [instance])


async def read(
    http: web.BaseRequest, asked: Asked, snapshot: Snapshot, paths: Sequence[str], guest: Guest
) -> Inbound:
    """What the guest asks. Raises RequestRefused; `paths` are those that it may have meant."""
    upload: Upload | None = None
    raw, body, facts = b"", json.NOTHING, RequestFacts(asked.operation)
    if asked.operation is Operation.OPAQUE:
        _check_path(http, asked, snapshot, paths)
        # a model is larger than any request
        limit = sys.maxsize if asked.manages else snapshot.limits.body
        intake.check_length(http, limit)
        if http.can_read_body:
            upload = Upload(http, limit)
    elif http.method != "POST":
        raise wrong_method(http, "POST")
    else:
        raw, body, facts = await intake.read_json(
            http, asked.dialect, asked.operation, snapshot.limits
        )
    return Inbound(
        dialect=asked.dialect,
        facts=facts,
        method=http.method,
        path=http.rel_url.raw_path,
        query=http.rel_url.raw_query_string,
        headers=guest.headers,
        raw=raw,
        body=body,
        key=guest.key,
        peer=guest.peer,
        upload=upload,
    )


def _check_path(
    http: web.BaseRequest, asked: Asked, snapshot: Snapshot, paths: Sequence[str]
) -> None:
    if asked.manages and snapshot.manages is None:
        raise RequestRefused(
            Problem(
                ProblemKind.FORBIDDEN,
                f"{http.path[:200]} would change the models of a backend, which this listener "
                "does not allow. Do it at the backend itself, or name the backend under "
                "`listeners.data.manage` in the configuration.",
                status=403,
                code="managing_not_allowed",
            )
        )
    is_relayed = http.path.startswith("/v1/") and snapshot.routes.relay is not None
    climbs = ".." in http.path.split("/")  # it would leave the backend's own path
    if (asked.manages or is_relayed) and not climbs:
        return
    if any(http.path.startswith(start) for one in DIALECTS for start in one.stored):
        raise RequestRefused(
            Problem(
                ProblemKind.BAD_REQUEST,
                f"{http.path[:200]} asks for what an earlier request has stored, and the "
                "sidecar stores nothing. Keep the history yourself, or give a backend that "
                "stores it a route with `relay: true`.",
                code="stored_state",
            )
        )
    raise RequestRefused(
        Problem(
            ProblemKind.BAD_REQUEST,
            f"There is nothing at {http.path[:200]}. {_way_out(http.path, paths)}",
            status=404,
            code="unknown_path",
        )
    )


def _way_out(path: str, paths: Sequence[str]) -> str:
    """What to do for one who asked for a path that is not there."""
    close = nearest(path, paths)
    told = f"Did you mean {close[0]}?" if close else f"Known are {', '.join(paths)}."
    return told + (" A route with `relay: true` would take it." if path.startswith("/v1/") else "")


def wrong_method(http: web.BaseRequest, allowed: str) -> RequestRefused:
    """For a path that takes another method."""
    return RequestRefused(
        Problem(
            ProblemKind.BAD_REQUEST,
            f"{http.path} does not take {http.method}; use {allowed}.",
            status=405,
            code="method_not_allowed",
            headers={"Allow": allowed},
        )
    )
