"""Judges of single rows of the table, whose promises are like no others. Pure."""

import re

from sidecar.neutral.problem import ProblemKind
from sidecar.policy.outcome import Disposition
from sidecar.rehearsal.advice import (
    Advice,
    another_target,
    deadlines,
    moved_back,
    no_budget,
    remedies,
)
from sidecar.rehearsal.judging import (
    Finding,
    Judge,
    Mark,
    after,
    answered,
    error_of,
    lie,
    tries_of_one_model,
    was_told,
    who,
)
from sidecar.rehearsal.stage import Scene


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
        elif no_budget(scene.cast):
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
            Mark.FAILS, f"the client got {error_of(scene, 0)}, not the 429 with its header"
        )
    told = "the 429 was passed on with its header"
    return Finding(Mark.BETTER, told, (another_target(scene.cast),))


def not_stormed(scene: Scene) -> Finding:
    """Row 2: every answer, and never more than four tries in three seconds on the limited one."""
    moments = [one.at for one in scene.primary.asked]
    most = max(sum(start <= at < start + 3 for at in moments) for start in moments)
    found = answered(kind=ProblemKind.RATE_LIMITED)(scene)
    if found.mark is not Mark.FAILS and most > 4:
        told = f"{scene.cast.primary} was tried {most} times in three seconds"
        return Finding(Mark.FAILS, told, moved_back(scene.cast, ProblemKind.RATE_LIMITED))
    return found


def larger_or_error(scene: Scene) -> Finding:
    """Row 12: a target that may have more room, or the error; nobody twice."""
    if told := lie(scene):
        return Finding(Mark.FAILS, told)
    if tries_of_one_model(scene) > 1:
        return Finding(Mark.FAILS, f"{scene.cast.primary} was asked the same again")
    if scene.understood[0].looks_whole:
        return Finding(Mark.HOLDS, f"answered by {who(scene)}")
    route, first, *rest = scene.cast.route, *scene.cast.candidates
    roomy = [
        one
        for one in rest
        if one.backend != first.backend
        and (one.context is None or first.context is None or one.context > first.context)
    ]
    if roomy:
        told = f"the client got {error_of(scene, 0)}, though {roomy[0].backend} may have room"
        return Finding(Mark.FAILS, told, remedies(scene, 0, ProblemKind.CONTEXT_LENGTH))
    if not was_told(scene, ProblemKind.CONTEXT_LENGTH):
        return Finding(
            Mark.FAILS, f"the client got {error_of(scene, 0)}, not that the prompt is long"
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
        if not was_told(scene, kind):
            return Finding(Mark.FAILS, f"the client got {error_of(scene, 0)}, not the reason")
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
            return Finding(
                Mark.FAILS, f"the client got {error_of(scene, 0)}, not the 401 of its key"
            )
        return Finding(Mark.HOLDS, "the client's own key was refused, and the client was told")

    return judge_key


def nobody_has_it(scene: Scene) -> Finding:
    """Row 26 for a model that no target has."""
    if told := lie(scene):
        return Finding(Mark.FAILS, told)
    if scene.heard[0].status != 404 or not was_told(scene, ProblemKind.UNKNOWN_MODEL):
        return Finding(Mark.FAILS, f"the client got {error_of(scene, 0)}, not a 404")
    return Finding(Mark.HOLDS, "nobody has it: a 404 in the client's dialect")


def others_have_it(scene: Scene) -> Finding:
    """Row 26 for a model that only the first target lacks."""
    return (answered(kind=ProblemKind.UNKNOWN_MODEL) if scene.cast.others else nobody_has_it)(scene)


def nobody_is_there(scene: Scene) -> Finding:
    """Row 29."""
    if told := lie(scene):
        return Finding(Mark.FAILS, told)
    heard, error = scene.heard[0], scene.understood[0].error
    named = error is not None and all(
        re.search(rf"(?<!\w){re.escape(name)}(?!\w)", error.message) for name in scene.standins
    )
    if heard.status not in (503, 529) or "retry-after" not in heard.headers or not named:
        told = f"the client got {error_of(scene, 0)}"
        return Finding(Mark.FAILS, told, deadlines(scene, 0))
    return Finding(
        Mark.HOLDS, f"{heard.status} with Retry-After and what is wrong with each target"
    )


def usage_of_who_answered(scene: Scene) -> Finding:
    """Row 16."""
    found = answered(kind=ProblemKind.OVERLOADED)(scene)
    if found.mark is Mark.FAILS:
        return found
    by, said = who(scene), scene.understood[0]
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
    others = [one for name in scene.cast.others for one in scene.standins[name].asked]
    if any(one.at > gone for one in others):
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
    primary = scene.cast.primary
    mend = (Advice(f"backends.{primary}.breaker", "leave it at its defaults"),)
    moments = [one.at for one in scene.primary.asked]
    spans = [
        (began, began + heard.took)
        for began, heard in zip(scene.began, scene.heard, strict=True)
        if 3 * EVERY <= began < OUTAGE
    ]
    tried = sum(any(start <= at <= end for at in moments) for start, end in spans)
    if tried > len(spans) / 2:
        told = f"{tried} of {len(spans)} requests tried {primary} in the middle of its outage"
        return Finding(Mark.FAILS, told, mend)
    back = next((at - OUTAGE for at in moments if at >= OUTAGE), None)
    if back is None or back > BACK + EVERY:
        told = "not asked again" if back is None else f"asked again only {back:.0f} s later"
        return Finding(Mark.FAILS, f"{primary} was well after a minute, and {told}", mend)
    return Finding(Mark.HOLDS, f"all answered; {primary} was asked again after {back:.0f} s")


def carried_on(stopping: bool) -> Judge:
    """Rows 31 and 32: a stream under way ends well; where the time is short, honestly."""

    def judge(scene: Scene) -> Finding:
        if told := lie(scene):
            return Finding(Mark.FAILS, told)
        if scene.understood[0].looks_whole:
            return Finding(Mark.HOLDS, f"the stream ended well{after(scene)}")
        told, took = f"an honest error event{after(scene)}", scene.heard[0].took
        deadline, limit = scene.cast.route.deadline, scene.cast.loaded.snapshot.drain.limit
        if deadline is not None and took >= deadline:
            return Finding(Mark.HOLDS, f"{told}, by the deadline of the route")
        if stopping and took >= limit:
            longer = Advice("drain.limit", f"longer than {limit:g} s, as long as answers take")
            return Finding(Mark.BETTER, told, (longer,))
        return Finding(Mark.FAILS, told)

    return judge


def uncounted(scene: Scene) -> Finding:
    """Row 5: a pooled connection that was already dead is nobody's fault."""
    found = answered(kind=ProblemKind.CONNECT)(scene)
    tries = [heard.headers.get("x-sidecar-attempts") for heard in scene.heard]
    if found.mark is not Mark.FAILS and tries != ["1"] * len(tries):
        return Finding(Mark.FAILS, f"a dead pooled connection counted against {who(scene)}")
    return found
