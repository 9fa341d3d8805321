"""Which setting of the operator's would have mended what a play has shown. Pure."""

from dataclasses import dataclass

from sidecar.neutral.problem import ProblemKind
from sidecar.policy.outcome import OUTCOMES
from sidecar.policy.routing import Way
from sidecar.rehearsal.stage import Cast, Scene


@dataclass(frozen=True, slots=True)
class Advice:
    """A setting, as a path in the configuration, and what to do with it."""

    setting: str
    do: str


def remedies(
    scene: Scene, place: int, kind: ProblemKind | None, recovers: bool = False
) -> tuple[Advice, ...]:
    """The settings that would have given that request its answer, the likeliest first."""
    cast, found = scene.cast, list(deadlines(scene, place))
    name = cast.route.name
    found += moved_back(cast, kind)
    if not cast.others:
        found.append(another_target(cast))
    if recovers and not cast.others:
        if not cast.route.retry.attempts:
            found.append(Advice(f"routes.{name}.retry.attempts", "2"))
        elif no_budget(cast):
            found.append(Advice("retry_budget", "leave it at its default"))
    return tuple(found)


def another_target(cast: Cast) -> Advice:
    """A route whose targets are all one backend has nowhere to go."""
    count = "one target" if len(cast.candidates) == 1 else "targets of one backend only"
    told = f"it has {count}; add a second one on another backend"
    return Advice(f"routes.{cast.route.name}.targets", told)


def rescues(cast: Cast) -> tuple[Advice, ...]:
    """What would save a stream that breaks."""
    name, recover = cast.route.name, f"routes.{cast.route.name}.recover"
    replays = Way.REPLAY in cast.route.recover
    return (
        *(() if replays else (Advice(recover, "[replay, continue, fail]"),)),
        Advice(f"routes.{name}.targets", "a target behind it with the very same model"),
        Advice(
            f"routes.{name}.delivery", "assured, for clients that can wait for the whole answer"
        ),
    )


def sooner(scene: Scene) -> tuple[Advice, ...]:
    """Another backend is asked, and earlier."""
    cast = scene.cast
    needed = () if cast.others else (another_target(cast),)
    return (*needed, Advice(limit_setting(cast, "first_token"), "10s"))


def limit_setting(cast: Cast, name: str) -> str:
    """Where the first target's limit of that name is set, or should be."""
    data = cast.loaded.document.data
    route = f"routes.{cast.route.name}.targets"
    if name == "first_token" and _at(data, "routes", cast.route.name, "targets", 0, name):
        return f"{route}[0].first_token"
    if _at(data, "backends", cast.primary, "timeouts", name):
        return f"backends.{cast.primary}.timeouts.{name}"
    return f"defaults.timeouts.{name}"


def _at(data: object, *path: str | int) -> object:
    for key in path:
        if isinstance(data, dict) and isinstance(key, str):
            data = data.get(key)
        elif isinstance(data, list) and isinstance(key, int) and key < len(data):
            data = data[key]
        else:
            return None
    return data


def deadlines(scene: Scene, place: int) -> tuple[Advice, ...]:
    """The advice to give a request more time, where its route's deadline has ended it."""
    deadline = scene.cast.route.deadline
    if deadline is None or scene.heard[place].took < deadline:
        return ()
    name = "first_token" if scene.stream else "whole"
    limit = getattr(scene.cast.candidates[0].timeouts, name)
    told = f"longer than {deadline:g} s"
    if limit >= deadline:
        told = f"longer than {limit:g} s, the limit `{name}` of {scene.cast.primary}; or lower that"
    return (Advice(f"routes.{scene.cast.route.name}.deadline", told),)


def moved_back(cast: Cast, kind: ProblemKind | None) -> tuple[Advice, ...]:
    """The advice not to move a problem that the route has moved."""
    moved = None if kind is None else cast.route.on.get(kind)
    if kind is None or moved is None or moved is OUTCOMES[kind].disposition:
        return ()
    return (Advice(f"routes.{cast.route.name}.on.{kind}", "leave it out"),)


def no_budget(cast: Cast) -> bool:
    """Whether no retry is ever allowed."""
    budget = cast.loaded.snapshot.retry_budget
    return budget.share <= 0 and budget.floor <= 0
