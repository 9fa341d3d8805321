"""Tells the client in headers whose answer it gets, after how many tries, and what was lost."""

import re
from collections.abc import Sequence

from sidecar.config.snapshot import Backend
from sidecar.dataplane import tries
from sidecar.dataplane.answer import Answer
from sidecar.dataplane.prepare import LONGEST_FIELD
from sidecar.neutral.request import Loss
from sidecar.policy.outcome import Outcome

LOSSES_NAMED = 32  # in a header


def tell_backend(answer: Answer, backend: Backend, tried: Sequence[Outcome]) -> None:
    """Name the backend that is asked now, behind those that were `tried`."""
    common = answer.common
    common["x-sidecar-backend"] = backend.name
    common["x-sidecar-attempts"] = str(len(tried) + 1)
    common[tries.HEADER] = tries.header(tried, backend.name)
    for name in ("x-sidecar-echo", "x-sidecar-losses"):
        common.pop(name, None)
    if backend.echo:
        common["x-sidecar-echo"] = "true"


def tell_losses(answer: Answer, losses: Sequence[Loss]) -> None:
    """Name what the request loses on the way to that backend."""
    named = [*dict.fromkeys(_printable(loss.field) for loss in losses)]
    more = ["..."] if len(named) > LOSSES_NAMED else []
    answer.common["x-sidecar-losses"] = ", ".join(named[:LOSSES_NAMED] + more)


def _printable(name: str) -> str:
    """A field's name as it may stand in a header; a client may have made it up."""
    return re.sub(r"[^A-Za-z0-9_.\[\]-]", "?", name[:LONGEST_FIELD])
