"""From what the file says of routes to the route table, with every check between routes.

Who claims which name, which target can be reached, what may leave the machine.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from sidecar.config.faults import KeyPath, Report, did_you_mean, listed, shown
from sidecar.config.schema import RouteSection, TargetSection
from sidecar.config.snapshot import Backend
from sidecar.neutral.problem import ProblemKind
from sidecar.policy.backoff import RetrySettings
from sidecar.policy.outcome import Disposition
from sidecar.policy.routing import Route, RouteTable, Target, Way, is_pattern

Backends = Mapping[str, Backend | None]  # None is one that has faults of its own


def resolve_routes(
    routes: Mapping[str, RouteSection],
    backends: Backends,
    barred: Collection[str] | None,
    report: Report,
) -> RouteTable:
    """The table, as far as it can be built; whatever is wrong is in the report.

    `barred` names the backends that `--local-only` has taken out; None where it was not asked for.
    """
    if not routes:
        example = "chat: {targets: [{backend: NAME}]}"
        report.error(("routes",), "no route", f"at least one, such as {example}")
    _check_single(routes, "default", report)
    _check_single(routes, "relay", report)
    return RouteTable(
        [_route(name, section, backends, barred, report) for name, section in routes.items()]
    )


def _route(
    name: str,
    section: RouteSection,
    backends: Backends,
    barred: Collection[str] | None,
    report: Report,
) -> Route:
    stay_local = barred is not None or section.stay == "local"
    targets: list[Target] = []
    for place, target in enumerate(section.targets):
        path: KeyPath = ("routes", name, "targets", place)
        if _bare(target) in _without_times(section, place):
            report.error(path, "the same target again", "each target once in a chain")
        backend = _backend_of(path, target, section, backends, report)
        if backend is None:
            continue
        if not backend.enabled and backend.name not in (barred or ()):
            report.error(
                (*path, "backend"), f"{target.backend!r}, which is not enabled",
                "a backend that can be reached", "enable it, or take the target out",
            )  # fmt: skip
        limits = backend.timeouts
        if target.first_token is not None:
            limits = replace(limits, first_token=target.first_token)
        targets.append(Target(target.backend, target.model, limits, target.prefill))
    if targets and all(target.backend in (barred or ()) for target in targets):
        report.error(
            ("routes", name, "targets"), "public addresses only", "a local one under --local-only"
        )
    models = section.models if section.models is not None else (name,)
    if not models and not section.default and not section.relay:
        report.error(("routes", name, "models"), "an empty list", "names that clients ask for")
    retry = section.retry
    return Route(
        name=name,
        models=models,
        targets=tuple(targets),
        retry=RetrySettings(retry.attempts, retry.max_wait, retry.backoff.base, retry.backoff.cap),
        default=section.default,
        deadline=section.deadline,
        stay_local=stay_local,
        relay=section.relay,
        listed_first=section.listed_first,
        losses_strict=section.losses == "strict",
        recover=_recover(name, section, report),
        assured=section.delivery == "assured",
        public=section.public,
        tries_ejected=section.when_all_open == "try",
        on={ProblemKind(kind): Disposition(word) for kind, word in section.on.items()},
    )


def _recover(name: str, section: RouteSection, report: Report) -> tuple[Way, ...]:
    """The ways in their order; to fail is always the last one, whether it is written or not."""
    ways = [*map(Way, section.recover)]
    if Way.FAIL in ways[:-1]:
        report.error(
            ("routes", name, "recover"), "fail before other ways", "fail as the last one",
            "what stands behind it is never tried",
        )  # fmt: skip
    if len(set(ways)) < len(ways):
        report.error(("routes", name, "recover"), "the same way twice", "each way once")
    return (*(way for way in ways if way is not Way.FAIL), Way.FAIL)


def _bare(target: TargetSection) -> TargetSection:
    return target.model_copy(update={"first_token": None, "prefill": False})


def _without_times(section: RouteSection, before: int) -> list[TargetSection]:
    earlier = section.targets[:before]
    return [_bare(target) for target in earlier]


def _backend_of(
    path: KeyPath, target: TargetSection, section: RouteSection, backends: Backends, report: Report
) -> Backend | None:
    path = (*path, "backend")
    if target.backend not in backends:
        known = f"one of {listed(backends)}" if backends else "the name of a backend"
        report.error(path, shown(target.backend), known, did_you_mean(target.backend, backends))
        return None
    backend = backends[target.backend]
    if backend is not None and backend.local is False and section.stay == "local":
        report.error(
            path, f"{target.backend!r}, which has a public address",
            "a backend on a loopback or private address",
            "a route with stay: local never reaches it",
        )  # fmt: skip
    return backend


def _check_single(routes: Mapping[str, RouteSection], key: str, report: Report) -> None:
    marked = [name for name, section in routes.items() if getattr(section, key)]
    for name in marked[1:]:
        report.error(
            ("routes", name, key), f"a second route with {key}: true", "one at most",
            f"the first is {marked[0]}",
        )  # fmt: skip


def check_names(written: object, report: Report) -> None:
    """Each name belongs to one route, and each pattern is the first that matches something.

    Looks at the routes as they are written, so that a route with other faults has its names too.
    """
    claimed: dict[str, str] = {}
    patterns: list[tuple[str, str]] = []
    for route, place, asked in _claims(written):
        path: KeyPath = ("routes", route, "models", place)
        name = asked.casefold()
        owner = claimed.setdefault(name, route)
        if owner != route:
            report.error(
                path, f"{shown(asked)}, which route {owner!r} claims too",
                "names that no other route claims", "names match without regard to case",
            )  # fmt: skip
            continue
        if not is_pattern(name):
            continue
        cover = next((one for one in patterns if _covers(one[0], name)), None)
        if cover is not None and cover[1] != route:
            found = f"{shown(asked)}, but {shown(cover[0])} of route {cover[1]!r} is first"
            hint = "put the narrower pattern first"
            report.error(path, found, "patterns that can match", hint)
        patterns.append((name, route))


def _claims(routes: object) -> Iterator[tuple[str, int, str]]:
    """Route, place and name of all that is claimed; what is no route or no name is left out."""
    for route, section in routes.items() if isinstance(routes, dict) else ():
        if section is None or isinstance(section, dict):
            models = (section or {}).get("models")
            names = [route] if models is None else models
            for place, name in enumerate(names if isinstance(names, list | tuple) else ()):
                if isinstance(name, str) and name:
                    yield route, place, name


def _covers(wide: str, narrow: str) -> bool:
    """Whether one pattern surely matches whatever another one matches."""
    simple = not any(mark in wide for mark in "?[") and "[" not in narrow
    return simple and fnmatchcase(narrow, wide)
