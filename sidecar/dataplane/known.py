"""Answers that need no backend: pages of models, estimates, and that a model is ready."""

from collections.abc import Sequence

from sidecar.dataplane.answer import Answer
from sidecar.dataplane.endpoints import Asked
from sidecar.dataplane.prepare import Outbound, context
from sidecar.neutral.problem import RequestRefused
from sidecar.neutral.response import ChatResponse, StopReason
from sidecar.policy.steering import Steering
from sidecar.runtime import offer
from sidecar.wire.contract import ModelEntry


async def tell_models(
    answer: Answer, asked: Asked, entries: Sequence[ModelEntry], steering: Steering
) -> None:
    """The page of all models on offer, or of one of them. Raises RequestRefused."""
    if asked.listing is None:
        await tell_model(answer, asked.model, entries, steering)
        return
    page = asked.listing(entries)
    if isinstance(page, str):
        await answer.whole(200, {"Content-Type": "text/plain"}, page.encode())
        return
    await answer.json(page)


async def tell_model(
    answer: Answer, name: str | None, entries: Sequence[ModelEntry], steering: Steering
) -> None:
    """What is known of one model, in whatever case it is named. Raises RequestRefused."""
    entry = offer.entry(name or "", entries)
    if entry is None:
        raise RequestRefused(steering.no_such_model(name or "", [one.id for one in entries]))
    await answer.json(answer.dialect.encode_model(entry))


async def tell_estimate(answer: Answer, tokens: int) -> None:
    """How many tokens a request has, as far as can be told without its backend."""
    answer.common["x-sidecar-estimated"] = "true"
    await answer.json(answer.dialect.encode_count(tokens))


async def say_ready(answer: Answer, outbound: Outbound) -> None:
    """A client that only wants a model to be loaded: behind another dialect there is nothing to."""
    model = outbound.inbound.facts.model or ""
    ready = ChatResponse((), StopReason.LOADED, model=model)
    ctx = context(outbound, outbound.translation.request, 0, model)
    await answer.json(answer.dialect.encode_response(ready, ctx))
