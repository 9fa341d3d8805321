"""Which route a request takes, and the ordered candidates of that route.

Names match without regard to case. A literal name wins over a pattern; among patterns the order
of the file decides.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum
from fnmatch import translate

from sidecar.neutral.problem import ProblemKind
from sidecar.policy.backoff import RetrySettings
from sidecar.policy.outcome import Disposition

AUTO = "auto"  # where `listed_first` is set: every backend's own default model
DEFAULT_TAG = ":latest"  # a model's name means the same with and without it, as Ollama has it
OTHER = "other"  # the name in metrics of what no route has


class Way(StrEnum):
    """How a stream may go on that broke behind its first token."""

    REPLAY = "replay"
    CONTINUE = "continue"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of one attempt, in seconds. `first_token` and `idle` are for streams only."""

    connect: float
    first_token: float
    idle: float
    whole: float


@dataclass(frozen=True, slots=True)
class Target:
    """One link of a fallback chain."""

    backend: str
    model: str | None
    timeouts: Timeouts
    continues: bool = False  # it goes on from a partial turn of the assistant


@dataclass(frozen=True, slots=True)
class Route:
    """A rule from the asked model to a chain of backends. `deadline` is in seconds."""

    name: str
    models: tuple[str, ...]
    targets: tuple[Target, ...]
    retry: RetrySettings
    default: bool = False
    deadline: float | None = None
    stay_local: bool = False
    relay: bool = False  # takes every other /v1/… path
    listed_first: bool = False
    losses_strict: bool = False  # refuses what a crossing would lose of the meaning
    tries_ejected: bool = False  # asks one that fails when nobody else may be asked
    on: Mapping[ProblemKind, Disposition] = field(default_factory=dict)
    recover: tuple[Way, ...] = (Way.FAIL,)  # tried in this order; the last one is FAIL
    assured: bool = False  # answers are held back until they are complete
    public: bool = False  # offered on the public listener


@dataclass(frozen=True, slots=True)
class BackendView:
    """What a plan must know of one backend; `listed` is None until its catalogue is known."""

    enabled: bool
    model: str | None
    models: Mapping[str, str]  # asked name in lower case → name at the backend
    context: Mapping[str, int]  # tokens, by name at the backend
    listed: Mapping[str, str] | None = None  # its catalogue: name in lower case → its own name
    max_output: Mapping[str, int] = field(default_factory=dict)  # tokens, as `context`


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backend and the model it will be asked for; None relays the request's own."""

    backend: str
    model: str | None
    timeouts: Timeouts
    context: int | None = None  # tokens that the model reads and writes, where known
    max_output: int | None = None  # tokens that it writes at most, where known
    continues: bool = False  # it goes on from a partial turn of the assistant


@dataclass(frozen=True, slots=True)
class Plan:
    """The candidates of one request, in the order in which they are tried."""

    route: Route
    candidates: tuple[Candidate, ...]


def is_pattern(name: str) -> bool:
    """Whether a name of a route stands for many."""
    return any(mark in name for mark in "*?[")


class RouteTable:
    """The routes of one snapshot, indexed so that a look-up does not grow with their number.

    `routes` are those on offer. A name belongs to the first route that claims it, on offer or not.
    """

    __slots__ = ("_all", "_default", "_exact", "_patterns", "_published", "_relay", "routes")

    def __init__(
        self, routes: Sequence[Route], is_offered: Callable[[Route], bool] = lambda _: True
    ) -> None:
        self._all = tuple(routes)
        self.routes = tuple(route for route in self._all if is_offered(route))
        self._published: RouteTable | None = None

        def offered(route: Route | None) -> Route | None:
            return route if route is not None and is_offered(route) else None

        self._exact = {
            name.casefold(): offered(route)
            for route in reversed(self._all)
            for name in route.models
            if not is_pattern(name)
        }
        self._patterns = [
            (re.compile(translate(name.casefold())), offered(route))
            for route in self._all
            for name in route.models
            if is_pattern(name)
        ]
        self._default = offered(next((route for route in self._all if route.default), None))
        self._relay = offered(next((route for route in self._all if route.relay), None))

    @property
    def published(self) -> "RouteTable":
        """The same routes, with nothing on offer but what is public."""
        if self._published is None:
            self._published = RouteTable(self._all, lambda route: route.public)
        return self._published

    @property
    def default(self) -> Route | None:
        """The route of requests that name no model."""
        return self._default

    @property
    def relay(self) -> Route | None:
        """The route of paths that no operation owns."""
        return self._relay

    def match(self, model: str) -> Route | None:
        """The route on offer that claims a model's name."""
        name = model.casefold()
        if name in self._exact:
            return self._exact[name]
        return next((route for pattern, route in self._patterns if pattern.match(name)), None)

    def plain(self, model: str) -> str:
        """A model's name without the default tag, unless a route has the name with it.

        Clients of Ollama put the tag behind every name that has none.
        """
        bare = model.removesuffix(DEFAULT_TAG)
        return model if model.casefold() in self._exact or self.match(bare) is None else bare


def plan(
    route: Route, asked: str | None, view: Callable[[str], BackendView], force: str | None = None
) -> Plan:
    """Order the candidates of a route.

    The model sent is the target's, else the request's own, else the backend's default. `force`
    names the one backend of the route that the client wants.
    """
    targets = (target for target in route.targets if force in (None, target.backend))
    found = [(target, view(target.backend)) for target in targets]
    enabled = [(target, seen) for target, seen in found if seen.enabled]
    if route.listed_first:
        enabled.sort(key=lambda pair: not _lists(pair[1], asked))
    # who names backend and model means that model; only the chain may put another in its place
    picks = route.listed_first and (force is None or (asked or AUTO).casefold() == AUTO)
    candidates = (_candidate(target, seen, asked, picks=picks) for target, seen in enabled)
    return Plan(route, tuple(candidates))


def preferred(plan: Plan, loses: Callable[[Candidate], bool]) -> Plan:
    """The plan with those candidates first that lose nothing of what was asked for."""
    return replace(plan, candidates=tuple(sorted(plan.candidates, key=loses)))


def of_one_model(plan: Plan, embeds: Callable[[Candidate], bool]) -> Plan:
    """The plan with those candidates only that have the model of the first one that embeds.

    Vectors of different models do not compare: a fallback to another model would be a wrong answer
    that looks right.
    """
    able = [one for one in plan.candidates if embeds(one)] or list(plan.candidates)
    same = [one for one in able if _same_model(one.model) == _same_model(able[0].model)]
    return replace(plan, candidates=tuple(same))


def _same_model(name: str | None) -> str | None:
    return name and name.casefold().removesuffix(DEFAULT_TAG)


def _lists(view: BackendView, asked: str | None) -> bool:
    return asked is not None and view.listed is not None and asked.casefold() in view.listed


def _candidate(target: Target, view: BackendView, asked: str | None, *, picks: bool) -> Candidate:
    """The candidate of a target; `picks` lets it be asked for the model that it really has."""
    name = target.model or (_pick(view, asked) if picks else asked or view.model)
    if name is not None:
        name = view.models.get(name.casefold(), name)
    own = name or ""
    return Candidate(
        target.backend,
        name,
        target.timeouts,
        view.context.get(own),
        view.max_output.get(own),
        target.continues,
    )


def _pick(view: BackendView, asked: str | None) -> str | None:
    """The asked model as this backend knows it, else its own default, else its first one.

    Who lists nothing is asked for the name all the same: it may have got the model since.
    """
    listed = view.listed or {}
    name = None if asked is None or asked.casefold() == AUTO else asked
    if name is not None:
        # until the catalogue is known the asked name is the best guess
        known = name if view.listed is None else listed.get(name.casefold())
        if known is not None:
            return known
    return view.model or next(iter(listed.values()), name)


def offered(table: RouteTable, view: Callable[[str], BackendView]) -> list[tuple[str, str]]:
    """The names that clients may ask for, each with its route; patterns by what they match."""
    names: dict[str, str] = {}
    for route in table.routes:
        for name in route.models:
            if not is_pattern(name) and table.match(name) is not None:
                names.setdefault(name, route.name)
    for route in table.routes:
        if not any(is_pattern(name) for name in route.models):
            continue
        if route.listed_first and table.match(AUTO) is not None:
            names.setdefault(AUTO, route.name)
        for target in route.targets:
            for name in sorted(_names_at(target, view(target.backend))):
                if table.match(name) is route:
                    names.setdefault(name, route.name)
    return list(names.items())


def _names_at(target: Target, view: BackendView) -> set[str]:
    if not view.enabled:
        return set()
    own = {name for name in (target.model, view.model) if name is not None}
    return own | set(view.models) | set((view.listed or {}).values())


def nearest(name: str, known: Collection[str], most: int = 3) -> list[str]:
    """The known names that look most like a name, for an error message."""
    by_folded = {one.casefold(): one for one in known}
    close = get_close_matches(name[:100].casefold(), list(by_folded), n=most, cutoff=0.5)
    return [by_folded[one] for one in close]
