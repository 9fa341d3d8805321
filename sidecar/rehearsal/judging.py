"""Whether a promise was kept in a play, and which setting would mend it. Pure.

A judge looks at what the clients got and at what the backends saw, never at why. Advice is sought
only where something is amiss.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sidecar.config.unbuilt import UNBUILT
from sidecar.neutral.problem import ProblemKind
from sidecar.policy.outcome import OUTCOMES, Disposition
from sidecar.rehearsal.client import PATIENCE
from sidecar.rehearsal.stage import Cast, Scene
from sidecar.rehearsal.voice import speakers

CLIENTS_WAIT = 600.0  # seconds that the vendors' SDKs wait for an answer unless told otherwise
SLACK = 2.0  # seconds


class Mark(StrEnum):
    """What became of a promise."""

    HOLDS = "holds"
    BETTER = "better"  # it holds, and a setting would give the client more
    FAILS = "fails"
    NOT_REHEARSED = "not_rehearsed"


@dataclass(frozen=True, slots=True)
class Advice:
    """A setting, as a path in the configuration, and what to do with it."""

    setting: str
    do: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a judge says: the mark, what happened in words, and what would mend it."""

    mark: Mark
    told: str
    advice: tuple[Advice, ...] = ()


Judge = Callable[[Scene], Finding]


# --- what the clients got -------------------------------------------------------------------------


def lie(scene: Scene, text: str | None = None) -> str | None:
    """What is worse than any error: an answer that is wrong and looks right, or no end at all."""
    for heard, said in zip(scene.heard, scene.understood, strict=True):
        if heard.is_hung:
            return f"the client still had nothing after {_span(PATIENCE)}"
        if said.looks_whole and said.error is not None:
            return "an error and the mark of a whole answer came together"
        if said.looks_whole and not _is_right(said.text, text):
            return "a truncated or mixed answer was presented as a whole one"
        if not said.looks_whole and said.error is None:
            return "the answer just stopped, without an error"
    return None


def _is_right(told: str, text: str | None) -> bool:
    return speakers(told) is not None if text is None else told == text


def answered(
    *,
    kind: ProblemKind | None = None,
    recovers: bool = False,
    most: int | None = None,
    text: str | None = None,
) -> Judge:
    """Every request got a whole answer.

    `kind` is what was wrong with the primary, `recovers` that another try there would have helped,
    `most` how often it may be tried for each request, `text` the answer where it is not the usual.
    """

    def judge(scene: Scene) -> Finding:
        if told := lie(scene, text):
            return Finding(Mark.FAILS, told)
        missed = [place for place, said in enumerate(scene.understood) if not said.looks_whole]
        if missed:
            told = f"the client got {_error(scene, missed[0])}"
            return Finding(Mark.FAILS, told, remedies(scene, missed[0], kind, recovers))
        tries = tries_of_one_model(scene)
        if most is not None and tries > most * len(scene.heard):
            route = scene.cast.route
            advice = Advice(f"routes.{route.name}.retry.attempts", f"{most - 1}, or fewer")
            told = f"answered by {_who(scene)}, after {tries} tries on {scene.cast.primary}"
            return Finding(Mark.BETTER, told, (advice,) if route.retry.attempts >= most else ())
        return Finding(Mark.HOLDS, f"answered by {_who(scene)}{_after(scene)}")

    return judge


def within(seconds: float, judge: Judge, mend: Callable[[Scene], tuple[Advice, ...]]) -> Judge:
    """The same, and in that time."""

    def judge_time(scene: Scene) -> Finding:
        found = judge(scene)
        took = max(heard.took for heard in scene.heard)
        if took <= seconds or scene.heard[0].is_hung:
            return found
        told = f"{found.told}: later than after {_span(seconds)}"
        return Finding(Mark.FAILS, told, tuple(dict.fromkeys((*found.advice, *mend(scene)))))

    return judge_time


def after_limit(scene: Scene) -> Finding:
    """The answer of another backend, once the limit of the silent one has passed, at one try."""
    found = answered(kind=ProblemKind.TIMEOUT)(scene)
    if found.mark is Mark.FAILS:
        return found
    here = [one for one in scene.cast.candidates if one.backend == scene.cast.primary]
    name = "first_token" if scene.stream else "whole"
    limit = sum(getattr(one.timeouts, name) for one in here)
    took = scene.heard[0].took
    if took > limit + SLACK:
        return Finding(Mark.FAILS, f"answered only after {_span(took)}; `{name}` is {limit:g} s")
    if tries_of_one_model(scene) > 1:
        return Finding(Mark.FAILS, f"{scene.cast.primary} was silent, and was asked again")
    if took >= CLIENTS_WAIT:
        told = f"{found.told}; by then most clients have given up (SDKs wait {CLIENTS_WAIT:g} s)"
        advice = Advice(limit_setting(scene.cast, name), "less than the clients wait, such as 120s")
        return Finding(Mark.BETTER, told, (advice,))
    return found


def honest_or_whole(scene: Scene) -> Finding:
    """A stream that broke: the whole answer all the same, or an error event and no clean end."""
    if told := lie(scene):
        return Finding(Mark.FAILS, told)
    if scene.understood[0].looks_whole:
        return Finding(Mark.HOLDS, f"rescued: answered by {_who(scene)}{_after(scene)}")
    told = f"not rescued: an honest error event{_after(scene)}"
    advice = rescues(scene.cast)
    return Finding(Mark.BETTER if advice else Mark.HOLDS, told, advice)


# --- rows with judges of their own ----------------------------------------------------------------


def waited_as_told(seconds: float) -> Judge:
    """Row 1, within `max_wait`: a retry no earlier than the backend said, or another backend."""
    whole = answered(kind=ProblemKind.RATE_LIMITED)

    def judge(scene: Scene) -> Finding:
        found, route = whole(scene), scene.cast.route
        asked = [one.at for one in scene.primary.asked]
        if len(asked) > 1 and asked[1] - asked[0] < seconds:
            return Finding(
                Mark.FAILS,
                f"{scene.cast.primary} was asked again {asked[1] - asked[0]:.2g} s later",
            )
        if found.mark is not Mark.FAILS:
            return found
        advice = list(found.advice)
        if route.retry.max_wait < seconds:
            advice.append(Advice(f"routes.{route.name}.retry.max_wait", "3s"))
        elif not route.retry.attempts:
            advice.append(Advice(f"routes.{route.name}.retry.attempts", "2"))
        elif _no_budget(scene.cast):
            advice.append(Advice("retry_budget", "leave it at its default"))
        return Finding(Mark.FAILS, found.told, tuple(advice))

    return judge


def rested_as_told(scene: Scene) -> Finding:
    """Row 1, past `max_wait`: others at once, and the primary only after the time it named."""
    if told := lie(scene):
        return Finding(Mark.FAILS, told)
    early = [one.at for one in scene.primary.asked[1:] if one.at < 60]
    if early and tries_of_one_model(scene) > 1:
        return Finding(
            Mark.FAILS, f"{scene.cast.primary} was asked again {early[0]:.2g} s later, not after 60"
        )
    if scene.cast.others:
        return answered(kind=ProblemKind.RATE_LIMITED)(scene)
    first = scene.heard[0]
    if first.status != 429 or "retry-after" not in first.headers:
        return Finding(
            Mark.FAILS, f"the client got {_error(scene, 0)}, not the 429 with its header"
        )
    told = "the 429 was passed on with its header"
    return Finding(Mark.BETTER, told, (another_target(scene.cast),))


def not_stormed(scene: Scene) -> Finding:
    """Row 2: every answer, and never more than four tries in three seconds on the limited one."""
    moments = [one.at for one in scene.primary.asked]
    most = max(sum(start <= at < start + 3 for at in moments) for start in moments)
    found = answered(kind=ProblemKind.RATE_LIMITED)(scene)
    if found.mark is not Mark.FAILS and most > 4:
        return Finding(Mark.FAILS, f"{scene.cast.primary} was tried {most} times in three seconds")
    return found


def larger_or_error(scene: Scene) -> Finding:
    """Row 12: a target that may have more room, or the error; nobody twice."""
    if told := lie(scene):
        return Finding(Mark.FAILS, told)
    if tries_of_one_model(scene) > 1:
        return Finding(Mark.FAILS, f"{scene.cast.primary} was asked the same again")
    if scene.understood[0].looks_whole:
        return Finding(Mark.HOLDS, f"answered by {_who(scene)}")
    route, first, *rest = scene.cast.route, *scene.cast.candidates
    roomy = [
        one
        for one in rest
        if one.backend != first.backend
        and (one.context is None or first.context is None or one.context > first.context)
    ]
    if roomy:
        told = f"the client got {_error(scene, 0)}, though {roomy[0].backend} may have room"
        return Finding(Mark.FAILS, told, remedies(scene, 0, ProblemKind.CONTEXT_LENGTH))
    if not _told(scene, ProblemKind.CONTEXT_LENGTH):
        return Finding(
            Mark.FAILS, f"the client got {_error(scene, 0)}, not that the prompt is long"
        )
    place = Advice(
        f"routes.{route.name}.targets", "add a target whose declared `context` is larger"
    )
    return Finding(Mark.BETTER, "no target has more room: the error was passed on", (place,))


def refused_once(kind: ProblemKind) -> Judge:
    """Row 13: the reason, after one try; another backend where the route says so."""

    def judge(scene: Scene) -> Finding:
        if told := lie(scene):
            return Finding(Mark.FAILS, told)
        moved = scene.cast.route.on.get(kind)
        if moved is Disposition.FAIL_OVER and scene.cast.others:
            return answered(kind=kind)(scene)
        if moved is None and len(scene.primary.asked) > 1:
            return Finding(Mark.FAILS, f"{scene.cast.primary} was asked again")
        if not _told(scene, kind):
            return Finding(Mark.FAILS, f"the client got {_error(scene, 0)}, not the reason")
        return Finding(Mark.HOLDS, "the client was told the reason")

    return judge


def own_key_refused(forwarded: bool, judge: Judge) -> Judge:
    """Row 25: a key of the client's own is the client's to mend; ours leads to another backend."""

    def judge_key(scene: Scene) -> Finding:
        if not forwarded:
            return judge(scene)
        if told := lie(scene):
            return Finding(Mark.FAILS, told)
        if scene.heard[0].status != 401 or any(
            scene.standins[one].asked for one in scene.cast.others
        ):
            return Finding(Mark.FAILS, f"the client got {_error(scene, 0)}, not the 401 of its key")
        return Finding(Mark.HOLDS, "the client's own key was refused, and the client was told")

    return judge_key


def nobody_has_it(scene: Scene) -> Finding:
    """Row 26 for a model that no target has."""
    if told := lie(scene):
        return Finding(Mark.FAILS, told)
    if scene.heard[0].status != 404 or not _told(scene, ProblemKind.UNKNOWN_MODEL):
        return Finding(Mark.FAILS, f"the client got {_error(scene, 0)}, not a 404")
    return Finding(Mark.HOLDS, "nobody has it: a 404 in the client's dialect")


def others_have_it(scene: Scene) -> Finding:
    """Row 26 for a model that only the first target lacks."""
    return (answered(kind=ProblemKind.UNKNOWN_MODEL) if scene.cast.others else nobody_has_it)(scene)


def nobody_is_there(scene: Scene) -> Finding:
    """Row 29."""
    if told := lie(scene):
        return Finding(Mark.FAILS, told)
    heard, error = scene.heard[0], scene.understood[0].error
    named = error is not None and all(name in error.message for name in scene.standins)
    if heard.status not in (503, 529) or "retry-after" not in heard.headers or not named:
        told = f"the client got {_error(scene, 0)}"
        return Finding(Mark.FAILS, told, _deadline(scene, 0))
    return Finding(
        Mark.HOLDS, f"{heard.status} with Retry-After and what is wrong with each target"
    )


def usage_of_who_answered(scene: Scene) -> Finding:
    """Row 16."""
    found = answered(kind=ProblemKind.OVERLOADED)(scene)
    if found.mark is Mark.FAILS:
        return found
    by, said = _who(scene), scene.understood[0]
    voice = scene.standins[by].voice
    if said.usage is not None and said.usage.input_tokens != voice.tokens:
        return Finding(Mark.FAILS, f"answered by {by} with the usage of another backend")
    asked = scene.standins[by].asked[-1].model
    if asked and said.model not in (asked, scene.cast.model):
        return Finding(Mark.FAILS, f"answered by {by}, but it names the model {said.model!r}")
    return Finding(Mark.HOLDS, f"answered by {by}, with its own model and usage")


def forgotten(scene: Scene) -> Finding:
    """Row 27: the call is given up within a second, nobody else is asked, nothing stays behind."""
    gone = scene.began[0] + scene.heard[0].took
    if scene.in_flight:
        return Finding(Mark.FAILS, "the request stayed in flight after the client had left")
    if any(scene.standins[name].asked for name in scene.cast.others):
        return Finding(Mark.FAILS, "another backend was asked after the client had left")
    late = [at for at in scene.primary.left if at > gone + 1]
    if late or any(one.at > gone for one in scene.primary.asked):
        return Finding(Mark.FAILS, f"{scene.cast.primary} was kept busy after the client had left")
    return Finding(Mark.HOLDS, "the call was given up at once")


OUTAGE, EVERY, BACK = 60.0, 4.0, 30.0  # seconds of row 15


def outlived(scene: Scene) -> Finding:
    """Row 15: every answer, few trials during the outage, and the primary back soon after it."""
    found = answered(kind=ProblemKind.OVERLOADED)(scene)
    if found.mark is Mark.FAILS:
        return found
    primary, unbuilt = scene.cast.primary, not is_built("backends.*.breaker")
    mend = () if unbuilt else (Advice(f"backends.{primary}.breaker", "leave it at its defaults"),)
    why = "; the circuit breaker is not built yet" if unbuilt else ""
    moments = [one.at for one in scene.primary.asked]
    spans = [
        (began, began + heard.took)
        for began, heard in zip(scene.began, scene.heard, strict=True)
        if 3 * EVERY <= began < OUTAGE
    ]
    tried = sum(any(start <= at <= end for at in moments) for start, end in spans)
    if tried > len(spans) / 2:
        told = f"{tried} of {len(spans)} requests tried {primary} in the middle of its outage"
        return Finding(Mark.FAILS, told + why, mend)
    back = next((at - OUTAGE for at in moments if at >= OUTAGE), None)
    if back is None or back > BACK + EVERY:
        told = "not asked again" if back is None else f"asked again only {back:.0f} s later"
        return Finding(Mark.FAILS, f"{primary} was well after a minute, and {told}", mend)
    return Finding(Mark.HOLDS, f"all answered; {primary} was asked again after {back:.0f} s")


def drained(scene: Scene) -> Finding:
    """Row 32: the stream ends well within the drain, and honestly past it."""
    if told := lie(scene):
        return Finding(Mark.FAILS, told)
    if scene.understood[0].looks_whole:
        return Finding(Mark.HOLDS, f"the stream ended well{_after(scene)}")
    limit = scene.cast.loaded.snapshot.drain.limit
    told = f"an honest error event{_after(scene)}"
    if scene.heard[0].took < limit:
        return Finding(Mark.FAILS, f"{told}, before the drain's limit", _deadline(scene, 0))
    longer = Advice("drain.limit", f"longer than {limit:g} s, as long as answers take")
    return Finding(Mark.BETTER, told, (longer,))


# --- advice ---------------------------------------------------------------------------------------


def remedies(
    scene: Scene, place: int, kind: ProblemKind | None, recovers: bool = False
) -> tuple[Advice, ...]:
    """The settings that would have given that request its answer, the likeliest first."""
    cast, found = scene.cast, list(_deadline(scene, place))
    name = cast.route.name
    moved = cast.route.on.get(kind) if kind is not None else None
    if kind is not None and moved is not None and moved is not OUTCOMES[kind].disposition:
        found.append(Advice(f"routes.{name}.on.{kind}", "leave it out"))
    if not cast.others:
        found.append(another_target(cast))
    if recovers and not cast.others:
        if not cast.route.retry.attempts:
            found.append(Advice(f"routes.{name}.retry.attempts", "2"))
        elif _no_budget(cast):
            found.append(Advice("retry_budget", "leave it at its default"))
    return tuple(found)


def another_target(cast: Cast) -> Advice:
    """A route whose targets are all one backend has nowhere to go."""
    count = "one target" if len(cast.candidates) == 1 else "targets of one backend only"
    told = f"it has {count}; add a second one on another backend"
    return Advice(f"routes.{cast.route.name}.targets", told)


def rescues(cast: Cast) -> tuple[Advice, ...]:
    """What would save a stream that breaks, as far as it is built."""
    name = cast.route.name
    found = []
    if is_built("routes.*.recover.*"):
        told = "[replay, continue, fail], with a second target of the same model"
        found.append(Advice(f"routes.{name}.recover", told))
    if is_built("routes.*.delivery"):
        found.append(Advice(f"routes.{name}.delivery", "assured, for clients that read no stream"))
    return tuple(found)


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


def is_built(path: str) -> bool:
    """Whether a part of the configuration language is not refused as unbuilt."""
    return all(pattern != path for pattern, _, _ in UNBUILT)


def _at(data: object, *path: str | int) -> object:
    for key in path:
        if isinstance(data, dict) and isinstance(key, str):
            data = data.get(key)
        elif isinstance(data, list) and isinstance(key, int) and key < len(data):
            data = data[key]
        else:
            return None
    return data


def _deadline(scene: Scene, place: int) -> tuple[Advice, ...]:
    deadline = scene.cast.route.deadline
    if deadline is None or scene.heard[place].took < deadline:
        return ()
    name = "first_token" if scene.stream else "whole"
    limit = getattr(scene.cast.candidates[0].timeouts, name)
    told = f"more than {limit:g} s, the limit `{name}` of {scene.cast.primary}, or lower that"
    return (Advice(f"routes.{scene.cast.route.name}.deadline", told),)


def _no_budget(cast: Cast) -> bool:
    budget = cast.loaded.snapshot.retry_budget
    return budget.share <= 0 and budget.floor <= 0


# --- words ----------------------------------------------------------------------------------------


def tries_of_one_model(scene: Scene) -> int:
    """How often the primary was asked for the model that it was asked for first."""
    asked = scene.primary.asked
    return sum(one.model == asked[0].model for one in asked) if asked else 0


def _told(scene: Scene, kind: ProblemKind) -> bool:
    error = scene.understood[0].error
    return error is not None and error.kind is kind


def _who(scene: Scene) -> str:
    names: Sequence[str] = [one.headers.get("x-sidecar-backend", "nobody") for one in scene.heard]
    return ", then ".join(dict.fromkeys(names))


def _error(scene: Scene, place: int) -> str:
    heard, error = scene.heard[place], scene.understood[place].error
    if heard.status == 200 and error is not None:
        return f"an error event after {_span(heard.took)}"
    return f"a {heard.status}{_after(scene, place)}"


def _after(scene: Scene, place: int = 0) -> str:
    took = scene.heard[place].took
    return f" after {_span(took)}" if took >= 0.5 else ""


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
