"""Small snapshots for tests of what reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sidecar.config.secret import Secret
from sidecar.config.snapshot import Backend, Credential, Drain, Listener, Log, Quirks, Snapshot
from sidecar.dialects.openai_chat import DIALECT
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.backoff import RetrySettings
from sidecar.policy.budget import BudgetSettings
from sidecar.policy.health import ProbeSettings
from sidecar.policy.outcome import OUTCOMES, Disposition, Outcome
from sidecar.policy.routing import Route, RouteTable, Target, Timeouts
from sidecar.wire.contract import RequestLimits, Traits

TIMEOUTS = Timeouts(connect=3, first_token=60, idle=30, whole=600)


def bearer(key: str) -> Credential:
    return Credential("bearer", "authorization", Secret(key, "env KEY"))


def backend(name: str, **changes: Any) -> Backend:
    settings: dict[str, Any] = {
        "name": name,
        "preset": None,
        "dialect": DIALECT,
        "base_url": f"http://{name}.invalid/v1",
        "enabled": True,
        "model": None,
        "models": {},
        "context": {},
        "batch": None,
        "auth": None,
        "timeouts": TIMEOUTS,
        "probe": ProbeSettings(),
        "quirks": Quirks(),
        "traits": Traits(),
        "ca": None,
        "proxy": False,
        "echo": False,
        "local": None,
        "fingerprint": f"of {name}",
    }
    return Backend(**settings | changes)


def route(name: str, *backends: str, models: Sequence[str] = ()) -> Route:
    targets = tuple(Target(one, None, TIMEOUTS) for one in backends)
    return Route(name, tuple(models) or (name,), targets, RetrySettings())


def snapshot(backends: Sequence[Backend], routes: Sequence[Route] = (), **changes: Any) -> Snapshot:
    by_name: Mapping[str, Backend] = {one.name: one for one in backends}
    settings: dict[str, Any] = {
        "revision": "0123456789abcdef",
        "log": Log(),
        "data": Listener(("127.0.0.1", "::1"), 14400),
        "admin": Listener(("127.0.0.1",), 14401),
        "control_socket": "/run/control.sock",
        "hosts": (),
        "drain": Drain(),
        "backends": by_name,
        "routes": RouteTable(routes),
        "limits": RequestLimits(10_000_000, 1000, 5_000_000, 65_536),
        "fetch_images": False,
        "manages": None,
        "retry_budget": BudgetSettings(0.2, 10),
        "model_label": False,
        "secrets": (),
    }
    return Snapshot(**settings | changes)


def succeeded(backend: str, candidate: int = 0, **changes: Any) -> Outcome:
    return Outcome(candidate, backend, "m", Disposition.SUCCESS, **changes)


def failed(
    backend: str,
    kind: ProblemKind,
    candidate: int = 0,
    retry_after: float | None = None,
    **changes: Any,
) -> Outcome:
    problem = Problem(kind, f"{kind} happened", retry_after=retry_after)
    return Outcome(candidate, backend, "m", OUTCOMES[kind].disposition, problem, **changes)
