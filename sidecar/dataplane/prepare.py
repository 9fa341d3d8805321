"""`Inbound` + candidate → a call, and the passage of its answer: relay or cross, then quirks.

Between equal dialects the client's bytes go out, with spliced what must change; into another one
the request is encoded anew. Then `rename`, `drop`, `set` on top-level fields; path, query, headers.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from sidecar.config.address import Key, key_for, url_for
from sidecar.config.snapshot import Backend, UsageInStream
from sidecar.dataplane import headers
from sidecar.dataplane.crossing import ChatCrossing, CountCrossing
from sidecar.dataplane.embedding import EmbeddingCrossing
from sidecar.dataplane.intake import Inbound
from sidecar.dataplane.passage import Passage, Relay
from sidecar.dataplane.resuming import Resuming, Resumption
from sidecar.dataplane.translate import Translation
from sidecar.dataplane.upstream import UpstreamCall
from sidecar.dialects import DIALECTS
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind, RequestRefused
from sidecar.neutral.request import ChatRequest, Loss, Severity
from sidecar.policy.batching import batches
from sidecar.policy.routing import Candidate, Route, Way
from sidecar.wire import json, splice
from sidecar.wire.contract import (
    AnswerContext,
    Dialect,
    Expectation,
    Feature,
    Operation,
    RequestPatch,
    Target,
)
from sidecar.wire.signature import MARK

_MARK = MARK.encode()
LONGEST_FIELD = 64  # characters of a field's name that are told; a client may have made it up


@dataclass(frozen=True, slots=True)
class Moment:
    """What crossing answers are told of time and chance; see `AnswerContext`."""

    created: int
    elapsed: Callable[[], float]
    new_id: Callable[[], str]
    tokens: Callable[[Candidate | None], int]  # the request's, estimated for a candidate


@dataclass(frozen=True, slots=True)
class Prepared:
    """One attempt, ready to be sent."""

    call: UpstreamCall
    key: Key
    passage: Passage
    losses: tuple[Loss, ...] = ()
    further: tuple[UpstreamCall, ...] = ()  # the rest of a request that goes in batches


@dataclass(frozen=True, slots=True)
class Outbound:
    """What all attempts of a request have in common; `via` is the trail of sidecars so far."""

    inbound: Inbound
    translation: Translation
    route: Route
    via: str
    moment: Moment
    resumption: Resumption | None = None  # of a stream that broke behind its first token
    turn: int = 0  # which of the backend's keys it is, where there are several

    @property
    def is_continued(self) -> bool:
        """Whether the backend is to go on from a partial turn: its request is always made anew."""
        return self.resumption is not None and self.resumption.way is Way.CONTINUE


def prepare(
    outbound: Outbound, candidate: Candidate, backend: Backend, without: frozenset[Feature]
) -> Prepared:
    """The call for one attempt. Raises AttemptFailed where the backend cannot be asked that."""
    inbound = outbound.inbound
    if inbound.facts.operation is Operation.OPAQUE:
        return _prepared(outbound, candidate, backend, Relay(backend.dialect, inbound.facts), None)
    if inbound.facts.operation is Operation.EMBED and _must_decode(outbound, backend):
        return _embedding(outbound, candidate, backend)
    if backend.dialect is inbound.dialect and not outbound.is_continued:
        patch = request_patch(inbound, candidate, backend, without)
        body = inbound.dialect.patch(inbound.raw, patch)
        relay = Relay(backend.dialect, inbound.facts)
        made = _prepared(outbound, candidate, backend, relay, body)
        made = replace(made, losses=_lost_thinking(inbound, patch))
        if outbound.resumption is None:
            return made
        tokens = outbound.moment.tokens(candidate)
        ctx = context(outbound, outbound.translation.request, tokens, candidate.model)
        return replace(made, passage=_passage(outbound, backend.dialect, ctx, None, {}))
    if asked_of(inbound.facts.operation) not in backend.dialect.backend_paths:
        raise _cannot(f"speaks the dialect {backend.dialect.name}, which has no {inbound.path}")
    return _crossing(outbound, candidate, backend, without)


def _lost_thinking(inbound: Inbound, patch: RequestPatch) -> tuple[Loss, ...]:
    """What a relay takes out of the client's bytes: nothing but thinking, or the wish for it."""
    if not patch.without and _MARK not in inbound.raw:
        return ()
    stripped = inbound.dialect.patch(inbound.raw, RequestPatch(without=patch.without))
    return (Loss("thinking", Severity.COSMETIC),) if stripped != inbound.raw else ()


def asked_of(operation: Operation) -> Operation:
    """What a backend of another dialect is asked for: a prompt crosses as a chat."""
    return Operation.CHAT if operation is Operation.COMPLETION else operation


def _crossing(
    outbound: Outbound, candidate: Candidate, backend: Backend, without: frozenset[Feature]
) -> Prepared:
    inbound, moment = outbound.inbound, outbound.moment
    tokens = moment.tokens(candidate)
    try:
        translated = outbound.translation.into(candidate, backend, tokens, without)
    except RequestRefused as refused:  # a backend of the client's dialect might take it
        raise _cannot(f"cannot be asked that: {refused}", refused.problem.param) from None
    check_losses(translated.losses, backend.dialect, strict=outbound.route.losses_strict)
    if outbound.is_continued and any(loss.field == "prefill" for loss in translated.losses):
        raise _cannot(f"speaks the dialect {backend.dialect.name}, which continues no turn")
    ctx = context(outbound, outbound.translation.request, tokens, candidate.model)
    body = translated.encoded.body
    expects, original = translated.encoded.expects, translated.original
    passage = _passage(outbound, backend.dialect, ctx, expects, original)
    if inbound.facts.operation is Operation.COUNT:
        counted = backend.dialect.counted_fields
        body = {name: told for name, told in body.items() if name in counted}
    made = _prepared(outbound, candidate, backend, passage, json.dumps(body))
    return replace(made, losses=translated.losses)


def _passage(
    outbound: Outbound,
    backend: Dialect,
    ctx: AnswerContext,
    expects: Expectation | None,
    original: Mapping[str, str],
) -> Passage:
    client, resumption = outbound.inbound.dialect, outbound.resumption
    if outbound.inbound.facts.operation is Operation.COUNT:
        return CountCrossing(backend, client)
    if resumption is not None:
        return Resuming(backend, client, ctx, expects, original, resumption=resumption)
    return ChatCrossing(backend, client, ctx, expects, original)


def _must_decode(outbound: Outbound, backend: Backend) -> bool:
    """Whether texts cannot be relayed: the dialects differ, or the backend takes fewer at once."""
    if backend.dialect is not outbound.inbound.dialect:
        return True
    if backend.batch is None:
        return False
    return len(outbound.translation.embedding.inputs) > backend.batch


def _embedding(outbound: Outbound, candidate: Candidate, backend: Backend) -> Prepared:
    client, codec = outbound.inbound.dialect, backend.dialect.embeddings
    if codec is None:
        raise _cannot(f"speaks the dialect {backend.dialect.name}, which has no embeddings")
    request = outbound.translation.embedding
    parts = batches(request, backend.batch)
    target = Target(candidate.model, stream=False, traits=backend.traits)
    encoded = [codec.encode_request(batch, target) for batch in parts]
    losses = (*request.unheard, *encoded[0].losses)
    check_losses(losses, backend.dialect, strict=outbound.route.losses_strict)
    tokens = outbound.moment.tokens(candidate)
    ctx = context(outbound, ChatRequest(()), tokens, candidate.model)
    passage = EmbeddingCrossing(backend.dialect, client, request, parts, ctx)
    calls = [
        _prepared(outbound, candidate, backend, passage, json.dumps(one.body)) for one in encoded
    ]
    further = tuple(one.call for one in calls[1:])
    return replace(calls[0], losses=losses, further=further)


def context(
    outbound: Outbound, request: ChatRequest, tokens: int, model: str | None
) -> AnswerContext:
    """What an answer to the request is told beside itself; `tokens` is the request's estimate."""
    return AnswerContext(
        facts=outbound.inbound.facts,
        request=request,
        created=outbound.moment.created,
        elapsed=outbound.moment.elapsed,
        new_id=outbound.moment.new_id,
        estimate=tokens,
        model=model or "",
    )


def check_losses(losses: Iterable[Loss], dialect: Dialect, *, strict: bool) -> None:
    """Raises AttemptFailed for what must not be lost on the way into a dialect."""
    for loss in losses:
        name = loss.field[:LONGEST_FIELD]
        if loss.severity is Severity.FATAL:
            raise _cannot(f"cannot be asked with `{name}`. {loss.reason}", name)
        if strict and loss.severity is Severity.SEMANTIC:
            told = (
                f"speaks the dialect {dialect.name}, which has no place for `{name}`, and the "
                "route says `losses: strict`. Leave it out or ask for another model"
            )
            raise _cannot(told, name)


def _cannot(told: str, field: str | None = None) -> AttemptFailed:
    kind, code = ProblemKind.CANNOT_TRANSLATE, "cannot_translate"
    return AttemptFailed(Problem(kind, told.rstrip("."), code=code, param=field))


def _prepared(
    outbound: Outbound, candidate: Candidate, backend: Backend, passage: Passage, body: bytes | None
) -> Prepared:
    inbound, dialect = outbound.inbound, backend.dialect
    key = key_for(backend, inbound.key, outbound.turn)
    upload = inbound.upload
    foreign = [
        start
        for other in DIALECTS
        if not passage.is_relay and other is not dialect
        for start in other.own_headers
        if start not in dialect.own_headers
    ]
    passed = headers.towards_backend(inbound.headers, foreign)
    brought = {name.lower() for name, _ in passed}
    missing = {
        name: value
        for name, value in dialect.backend_headers.items()
        if name.lower() not in brought
    }
    ours = {
        **missing,
        **backend.quirks.header,
        **key.headers,
        "x-sidecar-via": outbound.via,
        "Accept-Encoding": "identity",
    }
    if upload is not None and upload.length is not None:
        ours["Content-Length"] = str(upload.length)
    if body is not None and _bends(backend):
        body = _bend(body, backend)
    if passage.is_relay:
        path = inbound.path.removeprefix(dialect.base_prefix)
        query = headers.passed_query(inbound.query)
    else:
        path = dialect.backend_paths[asked_of(inbound.facts.operation)]
        query = ""
        ours["Content-Type"] = "application/json"
    call = UpstreamCall(
        backend=backend,
        method=inbound.method,
        url=url_for(backend, path, key.query, query),
        headers=_merged(passed, ours),
        body=aiter(upload) if upload else body,
        connect=candidate.timeouts.connect,
        stay_local=outbound.route.stay_local,
    )
    return Prepared(call, key, passage)


def _merged(theirs: Iterable[tuple[str, str]], ours: Mapping[str, str]) -> Mapping[str, str]:
    """The client's headers, repeated ones joined, and ours in place of theirs in any case."""
    kept: dict[str, tuple[str, str]] = {}
    for name, value in theirs:
        first, before = kept.get(name.lower(), (name, ""))
        kept[name.lower()] = (first, f"{before}, {value}" if before else value)
    kept |= {name.lower(): (name, value) for name, value in ours.items()}
    return dict(kept.values())


def request_patch(
    inbound: Inbound, candidate: Candidate, backend: Backend, without: frozenset[Feature]
) -> RequestPatch:
    """What must change in the client's bytes for this candidate."""
    facts = inbound.facts
    asks = backend.quirks.usage_in_stream is UsageInStream.ON_REQUEST
    return RequestPatch(
        model=candidate.model if candidate.model != facts.model else None,
        ask_usage=facts.stream and not facts.wants_usage and asks,
        without=without,
    )


def _bends(backend: Backend) -> bool:
    quirks = backend.quirks
    return bool(quirks.rename or quirks.drop or quirks.set)


def _bend(raw: bytes, backend: Backend) -> bytes:
    """The object with some of its members renamed, left out or set; values keep their bytes."""
    quirks = backend.quirks
    kept: dict[str, bytes] = {}
    for one in splice.members(raw):
        if one.key not in quirks.drop:
            kept[quirks.rename.get(one.key, one.key)] = raw[one.start : one.end]
    kept |= {name: json.dumps(value) for name, value in quirks.set.items()}
    return b"{" + b",".join(json.dumps(name) + b":" + value for name, value in kept.items()) + b"}"
