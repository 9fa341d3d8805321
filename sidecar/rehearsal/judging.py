"""Whether a promise was kept in a play, and which setting would mend it. Pure.

A judge looks at what the clients got and at what the backends saw, never at why. Advice is sought
only where something is amiss.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sidecar.neutral.problem import ProblemKind
from sidecar.rehearsal.advice import Advice, limit_setting, moved_back, remedies, rescues
from sidecar.rehearsal.client import PATIENCE
from sidecar.rehearsal.stage import Scene
from sidecar.rehearsal.voice import speakers

CLIENTS_WAIT = 600.0  # seconds that the vendors' SDKs wait for an answer unless told otherwise
_SLACK = 2.0  # seconds


class Mark(StrEnum):
    """What became of a promise."""

    HOLDS = "holds"
    BETTER = "better"  # it holds, and a setting would give the client more
    FAILS = "fails"
    NOT_REHEARSED = "not_rehearsed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a judge says: the mark, what happened in words, and what would mend it."""

    mark: Mark
    told: str
    advice: tuple[Advice, ...] = ()


Judge = Callable[[Scene], Finding]


def lie(scene: Scene, text: str | None = None) -> str | None:
    """What is worse than any error: an answer that is wrong and looks right, or no end at all."""
    for heard, said in zip(scene.heard, scene.understood, strict=True):
        if heard.is_hung:
            return f"the client still had nothing after {span(PATIENCE)}"
        if said.looks_whole and said.error is not None:
            return "an error and the mark of a whole answer came together"
        if said.looks_whole and not _is_right(scene, said.text, text):
            return "a truncated or mixed answer was presented as a whole one"
        if not said.looks_whole and said.error is None:
            return "the answer just stopped, without an error"
    return None


def _is_right(scene: Scene, told: str, text: str | None) -> bool:
    """Whether an answer is that of one backend, or was gone on with by one that was asked to."""
    if text is not None:
        return told == text
    spoke = speakers(told)
    asked = ((one.voice, asked) for one in scene.standins.values() for asked in one.asked)
    return len(spoke) == 1 or (
        len(spoke) == 2 and any(voice.prefill(request) for voice, request in asked)
    )


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
            told = f"the client got {error_of(scene, missed[0])}"
            return Finding(Mark.FAILS, told, remedies(scene, missed[0], kind, recovers))
        tries = tries_of_one_model(scene)
        if most is not None and tries > most * len(scene.heard):
            route = scene.cast.route
            advice = Advice(f"routes.{route.name}.retry.attempts", f"{most - 1}, or fewer")
            told = f"answered by {who(scene)}, after {tries} tries on {scene.cast.primary}"
            return Finding(Mark.BETTER, told, (advice,) if route.retry.attempts >= most else ())
        return Finding(Mark.HOLDS, f"answered by {who(scene)}{after(scene)}")

    return judge


def within(seconds: float, judge: Judge, mend: Callable[[Scene], tuple[Advice, ...]]) -> Judge:
    """The same, and in that time."""

    def judge_time(scene: Scene) -> Finding:
        found = judge(scene)
        took = max(heard.took for heard in scene.heard)
        if took <= seconds or scene.heard[0].is_hung:
            return found
        told = f"{found.told}: later than after {span(seconds)}"
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
    if took > limit + _SLACK:
        return Finding(Mark.FAILS, f"answered only after {span(took)}; `{name}` is {limit:g} s")
    if tries_of_one_model(scene) > 1:
        told = f"{scene.cast.primary} was silent, and was asked again"
        return Finding(Mark.FAILS, told, moved_back(scene.cast, ProblemKind.TIMEOUT))
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
        return Finding(Mark.HOLDS, f"rescued: answered by {who(scene)}{after(scene)}")
    told = f"not rescued: an honest error event{after(scene)}"
    advice = rescues(scene.cast)
    return Finding(Mark.BETTER if advice else Mark.HOLDS, told, advice)


# --- words ----------------------------------------------------------------------------------------


def tries_of_one_model(scene: Scene) -> int:
    """How often the primary was asked for the model that it was asked for first."""
    asked = scene.primary.asked
    return sum(one.model == asked[0].model for one in asked) if asked else 0


def was_told(scene: Scene, kind: ProblemKind) -> bool:
    """Whether the first client got an error of that kind."""
    error = scene.understood[0].error
    return error is not None and error.kind is kind


def who(scene: Scene) -> str:
    """The backends whose answers the clients got, by the header that says so."""
    names: Sequence[str] = [one.headers.get("x-sidecar-backend", "nobody") for one in scene.heard]
    return ", then ".join(dict.fromkeys(names))


def error_of(scene: Scene, place: int) -> str:
    """The error that a client got."""
    heard, error = scene.heard[place], scene.understood[place].error
    if heard.status == 200 and error is not None:
        return f"an error event after {span(heard.took)}"
    return f"a {heard.status}{after(scene, place)}"


def after(scene: Scene, place: int = 0) -> str:
    """How long that took, where it is worth telling."""
    took = scene.heard[place].took
    return f" after {span(took)}" if took >= 0.5 else ""


def span(seconds: float) -> str:
    """Seconds for people."""
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
