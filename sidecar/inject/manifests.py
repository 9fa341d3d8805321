"""All objects of a file: each workload gets the sidecar, or a sentence that says why not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sidecar.inject.pod import Add, Refused, plan
from sidecar.inject.settings import Settings
from sidecar.inject.workloads import ENDING, Found, NoObject, find, member


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is done with one object; `additions` are relative to its document, in order."""

    title: str
    additions: tuple[Add, ...] = ()
    warnings: tuple[str, ...] = ()
    state: str = ""
    refusal: str = ""


def inject(document: object, settings: Settings) -> Iterator[Outcome]:
    """The outcome of each workload of a document; objects that run no pods have none."""
    try:
        for found in find(document):
            if found.pod is not None:
                yield _one(found, found.pod, settings)
            elif member(found.manifest, ("spec", "template", "spec", "containers")) is not None:
                yield Outcome(found.title, state="left alone: pods of this kind are not known here")
    except NoObject as error:
        yield Outcome("", refusal=str(error))


def _one(found: Found, to_pod: Sequence[str | int], settings: Settings) -> Outcome:
    pod = member(found.manifest, tuple(to_pod))
    if not isinstance(pod, dict):
        where = ".".join(map(str, to_pod))
        return Outcome(found.title, refusal=f"It has no {where}, so there is no pod in it.")
    try:
        made = plan(pod, settings, ends=found.kind in ENDING)
    except Refused as error:
        return Outcome(found.title, refusal=str(error))
    whole = tuple(Add((*found.path, *to_pod, *one.path), one.value) for one in made.additions)
    return Outcome(found.title, whole, tuple(made.warnings), made.state)
