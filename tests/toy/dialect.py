"""A fifth dialect, small and complete, that no vendor speaks.

It proves that a dialect is one folder and one entry of the registry. `launch` starts the program
with it.
"""

from collections.abc import Sequence

from sidecar.wire.contract import BARE_PROBE, Dialect, ModelEntry, Operation
from sidecar.wire.json import Json
from tests.toy import answer, errors, request, stream
from tests.toy.pieces import NAME


def encode_model(entry: ModelEntry) -> Json:
    """One model of the list."""
    return {"name": entry.id, "model": entry.id}


def encode_models(entries: Sequence[ModelEntry]) -> Json:
    """The list of models."""
    return {"models": [encode_model(entry) for entry in entries]}


def decode_models(body: object) -> Sequence[ModelEntry]:
    """The models of a backend. Raises ValueError."""
    match body:
        case {"models": [*models]}:
            return [ModelEntry(name) for each in models for name in _names(each)]
        case _:
            raise ValueError("no list of models")


def _names(model: object) -> Sequence[str]:
    match model:
        case {"name": str(name)}:
            return [name]
        case _:
            return []


DIALECT = Dialect(
    name=NAME,
    marker=None,
    territory=("/toy/",),
    endpoints={"/toy/talk": Operation.CHAT},
    listings={"/toy/models": encode_models},
    model_path=None,
    managing=(),
    stored=(),
    exposed=frozenset({"/toy/talk", "/toy/models"}),
    backend_paths={Operation.CHAT: "/talk", Operation.MODELS: "/models"},
    probe=BARE_PROBE,
    base_prefix="/toy",
    known_suffixes=("/talk", "/models"),
    framing=stream.FRAMING,
    backend_headers={},
    bound_field="most",
    error_within=None,
    own_headers=("toy-",),
    key_header="toy-key",
    longest_tool_name=20,
    takes_image_urls=True,
    counted_fields=frozenset(),
    facts=request.facts,
    patch=request.patch,
    judge=answer.judge,
    usage=answer.usage,
    tap=stream.ToyTap,
    unfold=stream.unfold,
    fold=stream.fold,
    decode_request=request.decode_request,
    encode_request=request.encode_request,
    decode_response=answer.decode_response,
    encode_response=answer.encode_response,
    stream_decoder=stream.ToyDecoder,
    stream_encoder=stream.ToyEncoder,
    resume=stream.resume,
    embeddings=None,
    decode_count=lambda body: None,
    encode_count=lambda tokens: {"tokens": tokens},
    decode_error=errors.decode_error,
    encode_error=errors.encode_error,
    decode_models=decode_models,
    learn_model=lambda entry, shown: entry,
    encode_model=encode_model,
)
