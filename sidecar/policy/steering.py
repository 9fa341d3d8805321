"""Which route and which backend a request means: by its model, or by force.

Routes match first. Then a request may force its backend, by the model name `backend/model` or by
the header `x-sidecar-backend`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from sidecar.neutral.problem import Problem, ProblemKind, RequestRefused
from sidecar.policy.backoff import RetrySettings
from sidecar.policy.routing import (
    AUTO,
    OTHER,
    BackendView,
    Plan,
    Route,
    RouteTable,
    Target,
    Timeouts,
    nearest,
    offered,
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The route, the model that is asked of its backends, and the one backend that is forced."""

    route: Route
    asked: str | None
    force: str | None = None


@dataclass(frozen=True, slots=True)
class Steering:
    """What a choice depends on, beside the request."""

    table: RouteTable
    backends: Collection[str]
    timeouts_of: Callable[[str], Timeouts]
    view: Callable[[str], BackendView]

    def choose(self, model: str | None, header: str | None) -> Choice:
        """The choice for a request. Raises RequestRefused for names that nobody knows."""
        forced = self._forced(header)
        model = model and self.table.plain(model)
        route = self.table.match(model) if model is not None else self.table.default
        if route is not None and (forced is not None or not self._only_catches(route, model)):
            return Choice(self._leading_to(route, forced), model, forced)
        prefix, _, rest = (model or "").partition("/")
        named = self._backend(prefix) if forced is None and rest else None
        if forced is not None:
            return Choice(self._alone(forced), model, forced)
        if named is not None:
            on = self._leading_to(route, named) if route is not None else self._alone(named)
            return Choice(on, rest, named)
        if route is not None:
            return Choice(route, model)
        raise self._unknown_model(model)

    def relayed(self, header: str | None) -> Choice | None:
        """The choice for a path that no operation owns; None where no route takes such paths."""
        forced = self._forced(header)
        route = self.table.relay
        return None if route is None else Choice(self._leading_to(route, forced), None, forced)

    def managed(self, backend: str) -> Choice:
        """The choice for what changes the models of that backend."""
        return Choice(self._alone(backend), None, backend)

    def _forced(self, header: str | None) -> str | None:
        """The backend that the header names. Raises RequestRefused where there is none."""
        backend = self._backend(header) if header is not None else None
        if header is not None and backend is None:
            raise self._unknown_backend(header)
        return backend

    def _backend(self, name: str) -> str | None:
        """The backend of that name; without regard to case where none has it exactly."""
        if name in self.backends:
            return name
        folded = name.casefold()
        return next((one for one in self.backends if one.casefold() == folded), None)

    def _only_catches(self, route: Route, model: str | None) -> bool:
        """Whether a route takes every name, and none of its backends lists this one."""
        if not route.listed_first or model is None:
            return False
        views = (self.view(target.backend) for target in route.targets)
        return not any(model.casefold() in (view.listed or ()) for view in views)

    def _leading_to(self, route: Route, forced: str | None) -> Route:
        """The route, with the forced backend where it is not among the targets."""
        if forced is None or any(target.backend == forced for target in route.targets):
            return route
        return replace(route, targets=(Target(forced, None, self.timeouts_of(forced)),))

    def _alone(self, backend: str) -> Route:
        """The route of a request that forces its backend where no route claims its model.

        It goes nowhere that no route may go: local where all routes are.
        """
        target = Target(backend, None, self.timeouts_of(backend))
        stays = all(route.stay_local for route in self.table.routes)
        return Route(OTHER, (), (target,), RetrySettings(), stay_local=stays)

    def _unknown_backend(self, name: str) -> RequestRefused:
        close = nearest(name, self.backends)
        names = _list(close or sorted(self.backends)[:5])
        hint = f" Did you mean {names}?" if close else f" There are {names}."
        return RequestRefused(
            Problem(
                ProblemKind.BAD_REQUEST,
                f"x-sidecar-backend names {name[:100]!r}, which is not a configured backend.{hint}",
                code="unknown_backend",
                param="x-sidecar-backend",
            )
        )

    def _unknown_model(self, model: str | None) -> RequestRefused:
        names = [name for name, _ in offered(self.table, self.view)]
        if model is None:
            return RequestRefused(
                Problem(
                    ProblemKind.BAD_REQUEST,
                    "`model` is missing, and no route is marked `default: true`. Name one of "
                    f"{_list(names[:5])}.",
                    code="missing_model",
                    param="model",
                )
            )
        return RequestRefused(self.no_such_model(model, names))

    def no_such_model(self, model: str, names: list[str]) -> Problem:
        """The problem of a model that nobody has, with the names that come nearest."""
        close = nearest(model, names)
        told = (
            f"Did you mean {_list(close)}?" if close else f"This sidecar offers {_list(names[:5])}."
        )
        return Problem(
            ProblemKind.UNKNOWN_MODEL,
            f"No route offers the model {model[:100]!r}. {told} GET /v1/models lists all.",
            code="model_not_found",
            param="model",
        )

    def denied_model(self, plan: Plan, model: str | None, denial: Problem) -> Problem:
        """The problem of a model that every backend of its plan denied to have."""
        listed = {
            name
            for candidate in plan.candidates
            for name in (self.view(candidate.backend).listed or {}).values()
        }
        names = listed | {name for name, _ in offered(self.table, self.view)}
        close = nearest(model or "", names - {model or ""})
        hint = f" Did you mean {_list(close)}?" if close else ""
        return replace(
            denial,
            message=f"{denial.message.rstrip('.')}.{hint}",
            status=404,
            code="model_not_found",
            param="model",
            raw=None,
        )


def _list(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names) or repr(AUTO)
