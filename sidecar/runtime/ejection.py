"""Which breakers an attempt concerns, and what its end tells each of them.

A backend has a breaker of its own and one for each of its models that has failed. A failure counts
against the one whose it is, a success for both.
"""

from collections.abc import Iterator

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.breaker import (
    Breaker,
    BreakerSettings,
    Change,
    Evidence,
    Look,
    SlowSettings,
    Ticket,
)
from sidecar.policy.outcome import OUTCOMES, Outcome, Scope, scope_of

MODELS_KEPT = 64  # breakers of one backend's models
# nobody waited any longer: that proves no failure, but a long wait without a token
_GIVEN_UP = (ProblemKind.CLIENT_GONE, ProblemKind.DEADLINE)


class ModelBreakers:
    """The breakers of a backend's models, by the names that it is asked for."""

    __slots__ = ("_breakers", "others_are_well")

    def __init__(self) -> None:
        self._breakers: dict[str, Breaker] = {}  # the latest made at the end
        self.others_are_well = False  # a model that has none has answered since one was opened

    def of(self, model: str | None) -> Breaker | None:
        """The breaker of a model; None where it has never failed."""
        return None if model is None else self._breakers.get(model)

    def made(self, model: str) -> Breaker:
        """The same, made where there is none; the oldest closed one gives way."""
        if model not in self._breakers and len(self._breakers) >= MODELS_KEPT:
            closed = (name for name, one in self._breakers.items() if one.is_closed)
            del self._breakers[next(closed, next(iter(self._breakers)))]
        return self._breakers.setdefault(model, Breaker())

    def __iter__(self) -> Iterator[tuple[str, Breaker]]:
        return iter(self._breakers.items())

    def clear(self) -> None:
        """Forget them all."""
        self._breakers.clear()

    def ejected(self, settings: BreakerSettings, now: float) -> list[tuple[Look, str, Breaker]]:
        """Those that let nobody pass, with the name of the model."""
        looks = ((one.look(settings, now), name, one) for name, one in self)
        return [found for found in looks if not found[0].may_pass]

    def as_a_whole(self, settings: BreakerSettings, now: float) -> tuple[Look, str] | None:
        """The one that opens soonest, and why, where no model is known to be well; else None."""
        shut = self.ejected(settings, now)
        if not shut or self.others_are_well or len(shut) < len(self._breakers):
            return None
        look, name, one = min(shut, key=lambda found: found[0].wait)
        return look, f"with its model {name!r} {one.why}"


class Claim:
    """The places that one attempt holds in the breakers that it concerns."""

    __slots__ = ("_concerned", "_model", "_models")

    def __init__(self, own: Breaker, models: ModelBreakers, model: str | None, now: float) -> None:
        self._models, self._model = models, model
        # with the name of the model whose breaker it is
        self._concerned: list[tuple[Breaker, Ticket, str | None]] = [(own, own.claim(now), None)]
        if (breaker := models.of(model)) is not None:
            self._concerned.append((breaker, breaker.claim(now), model))

    def settle(
        self, outcome: Outcome, settings: BreakerSettings, now: float, draw: float
    ) -> tuple[Change, ...]:
        """Give the places back and tell the breakers how it ended; what has changed by that."""
        told, is_of_model = _evidence(outcome, settings.slow), False
        if outcome.problem is not None and self._model is not None:
            is_of_model = scope_of(outcome.problem) is Scope.MODEL
        self._meet_model(told, is_of_model)
        changes = []
        for breaker, ticket, model in self._concerned:
            was_closed = breaker.is_closed
            heard = _heard(told, is_of_model is (model is not None), is_own=model is None)
            breaker.settle(ticket, heard, settings, now, draw)
            if breaker.is_closed is not was_closed:
                rest, back = breaker.rest(now), breaker.is_closed
                changes.append(Change(outcome.backend, model, back, breaker.why, rest))
                if model is not None and not back:
                    self._models.others_are_well = False
        return tuple(changes)

    def _meet_model(self, told: Evidence, is_of_model: bool) -> None:
        """Make a breaker for a model that fails for the first time, and know one that is well."""
        if self._model is None or len(self._concerned) > 1:
            return
        if is_of_model and told.is_failure:
            self._concerned.append((self._models.made(self._model), Ticket(), self._model))
        elif told.is_failure is False and self._models.of(self._model) is None:
            self._models.others_are_well = True


def _evidence(outcome: Outcome, slow: SlowSettings | None) -> Evidence:
    """What the end of an attempt tells, to whomever it concerns."""
    problem = outcome.problem
    if problem is None:
        return Evidence(False, _is_slow(outcome.ttft, outcome, slow))
    blames, waited = OUTCOMES[problem.kind].blames, None
    is_late = problem.kind is ProblemKind.TIMEOUT or problem.kind in _GIVEN_UP
    if is_late and outcome.ttft is None and not problem.unreached:
        waited = outcome.duration
    is_slow = _is_slow(waited, outcome, slow)
    # who has left sooner might still have had a token in time
    return Evidence(True, is_slow, _words(problem)) if blames else Evidence(is_slow=is_slow or None)


def _words(problem: Problem) -> str:
    """What went wrong, without a word of the backend's."""
    if problem.quotes and problem.status is not None:
        return f"answered {problem.status}"
    return problem.code or problem.kind.value if problem.quotes else problem.message


def _is_slow(waited: float | None, outcome: Outcome, slow: SlowSettings | None) -> bool | None:
    """Whether the first token took too long; the load of a model does not count."""
    if slow is None or waited is None or not outcome.streamed:
        return None
    return waited - outcome.load >= slow.first_token


def _heard(told: Evidence, concerns: bool, *, is_own: bool) -> Evidence:
    """What a breaker hears of it: failures that are its own, successes, and the backend's pace."""
    is_failure = told.is_failure if concerns or told.is_failure is False else None
    return Evidence(is_failure, told.is_slow if is_own else None, told.words)
