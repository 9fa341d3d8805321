"""Which candidates a request has, and in which order: `policy`, applied to one request."""

from sidecar.config.snapshot import Snapshot
from sidecar.dataplane.endpoints import Asked
from sidecar.dataplane.images import ImageFetcher
from sidecar.dataplane.prepare import Outbound
from sidecar.dataplane.translate import Translation
from sidecar.neutral.problem import ProblemKind, RequestRefused
from sidecar.policy import routing
from sidecar.policy.backoff import RetrySettings
from sidecar.policy.routing import OTHER, Candidate, Plan, Route
from sidecar.policy.steering import Steering
from sidecar.wire.contract import Operation, RequestFacts

_NOBODY = Plan(Route(OTHER, (), (), RetrySettings()), ())


def plan(
    asked: Asked, facts: RequestFacts, header: str | None, steering: Steering, snapshot: Snapshot
) -> Plan:
    """The plan of a request; `header` names the backend that it forces.

    Raises RequestRefused for names that nobody knows.
    """
    if asked.manages:
        assert snapshot.manages is not None  # the path was refused otherwise
        choice = steering.managed(snapshot.manages)
    elif facts.operation is Operation.OPAQUE:
        relayed = steering.relayed(header)
        assert relayed is not None  # the path was refused otherwise
        choice = relayed
    else:
        try:
            choice = steering.choose(facts.model, header)
        except RequestRefused as refused:
            is_unknown = refused.problem.kind is ProblemKind.UNKNOWN_MODEL
            if facts.operation is Operation.COUNT and is_unknown:
                return _NOBODY  # who counts is told an estimate, whatever the model
            raise
    return routing.plan(choice.route, choice.asked, steering.view, choice.force)


async def best(plan: Plan, outbound: Outbound, snapshot: Snapshot, images: ImageFetcher) -> Plan:
    """The plan with what loses nothing first, and without what would be another answer.

    Fetches images where that is configured. Raises RequestRefused for one that cannot be had.
    """
    operation, backends = outbound.inbound.facts.operation, snapshot.backends
    if operation is Operation.EMBED:
        return routing.of_one_model(
            plan, lambda one: backends[one.backend].dialect.embeddings is not None
        )
    dialects = [backends[one.backend].dialect for one in plan.candidates]
    is_native = all(dialect is outbound.inbound.dialect for dialect in dialects)
    if is_native or operation not in (Operation.CHAT, Operation.COMPLETION):
        return plan
    translation = outbound.translation
    take_urls = [dialect.takes_image_urls for dialect in dialects]
    if snapshot.fetch_images and not plan.route.stay_local and not all(take_urls):
        await _fetch_images(translation, images, is_needed=not any(take_urls))

    def loses(one: Candidate) -> bool:
        return translation.loses(one, backends[one.backend], outbound.moment.tokens(one))

    return routing.preferred(plan, loses) if len(plan.candidates) > 1 else plan


async def _fetch_images(translation: Translation, images: ImageFetcher, *, is_needed: bool) -> None:
    """Put images into the request; where they are not needed, only if they can be had."""
    if not translation.points_to_images:
        return
    try:
        translation.inline(await images.inlined(translation.request))
    except RequestRefused:
        if is_needed:
            raise
