"""The models that clients may ask for, with what is known of each."""

from collections.abc import Sequence
from dataclasses import replace

from sidecar.config.snapshot import Snapshot
from sidecar.policy.routing import DEFAULT_TAG, RouteTable, offered, plan
from sidecar.runtime.store import RuntimeStore
from sidecar.wire.contract import ModelEntry

OWNER = "llm-sidecar"


def entries(
    snapshot: Snapshot, table: RouteTable, store: RuntimeStore, born: int
) -> list[ModelEntry]:
    """Every name that clients may ask for, as its first target that is known describes it.

    `table` holds the snapshot's routes that are on offer to them; `born` is when the sidecar was
    started, in seconds since the epoch: a name exists since then.
    """
    views = {name: store.view(snapshot, name) for name in snapshot.backends}
    known = {
        name: store.state(backend).entries or {} for name, backend in snapshot.backends.items()
    }
    routes = {route.name: route for route in table.routes}
    found: list[ModelEntry] = []
    for name, route in offered(table, views.__getitem__):
        described = ModelEntry(name)
        for candidate in plan(routes[route], name, views.__getitem__).candidates:
            told = known[candidate.backend].get((candidate.model or "").casefold())
            context = candidate.context or (told.context if told else None)
            if told is not None or context is not None:
                described = replace(told or described, context=context)
                break
        found.append(replace(described, id=name, owned_by=OWNER, created=born))
    return found


def entry(name: str, on_offer: Sequence[ModelEntry]) -> ModelEntry | None:
    """The one of that name, in whatever case and with or without the tag that is the default."""
    asked = name.casefold()
    by_name = {one.id.casefold(): one for one in reversed(on_offer)}
    return (
        by_name.get(asked)
        or by_name.get(asked + DEFAULT_TAG)
        or by_name.get(asked.removesuffix(DEFAULT_TAG))
    )
