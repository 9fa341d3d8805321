"""Plays the table of one client dialect: one sidecar, two backends to a unit, many at a time."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.client import HANG, Got, read
from tests.e2e.crossing import PATHS, chat
from tests.e2e.faults.cells import Cell, Unit, Way
from tests.e2e.harness import QUICK_RETRY, Config, Metrics, Sidecar, of
from tests.e2e.matrix.clients import CLIENTS
from tests.e2e.matrix.talk import Answer, Ask, Client, Failed
from tests.fakes import behaviours as b
from tests.fakes import voices
from tests.fakes.backend import Backend, refusing_port
from tests.fakes.certificates import Authority
from tests.fakes.seen import Seen

UNPROBED: Config = {"probe": {"every": "none"}}  # a unit is one request, and nothing else
AT_A_TIME = 16  # requests: a machine of two cores must not be what is slow
NONE = Metrics(())


@dataclass(frozen=True)
class Played:
    """One unit as it went, from outside. `outcome` is what came back, or how the client failed."""

    unit: Unit
    outcome: Got | Answer | Failed | Exception
    start: float  # monotonic seconds, as in what the backends saw
    seconds: float
    primary: Sequence[Seen]
    fallback: Sequence[Seen]
    route: Metrics  # what bears the route's name
    p: Metrics  # what bears the primary's
    f: Metrics


@dataclass(frozen=True)
class _Set:
    """A unit and what it is played on."""

    unit: Unit
    primary: Backend
    fallback: Backend | None


def _backend(name: str, dialect: str, script: Sequence[b.Behaviour]) -> Backend:
    return Backend(name, *script[:-1], rest=script[-1] if script else None, dialect=dialect)


def _address(unit: Unit, place: Config) -> Config:
    """A place is an address without what the dialect puts behind it."""
    told = dict(place)
    if "base_url" in told:
        told["base_url"] = f"{told['base_url']}{voices.VOICES[unit.p].prefix}"
    return told


async def _places(stack: AsyncExitStack, folder: Path) -> dict[str, Config]:
    """Addresses that lead to no good, by name."""
    authority, stranger = Authority(), Authority()
    trusted: Config = {"ca": str(authority.write_bundle(folder))}

    async def tls(owner: Authority, *, expired: bool) -> str:
        server = Backend("p", tls=owner.server(expired=expired))
        await stack.enter_async_context(server)
        return f"https://127.0.0.1:{server.port}"

    closed = stack.enter_context(refusing_port())
    return {
        "closed": {"base_url": f"http://127.0.0.1:{closed}"},
        "no-name": {"base_url": "http://nowhere.invalid"},
        "tls-well": {"base_url": await tls(authority, expired=False), **trusted},
        "tls-expired": {"base_url": await tls(authority, expired=True), **trusted},
        "tls-stranger": {"base_url": await tls(stranger, expired=False), **trusted},
    }


def _configuration(sets: Sequence[_Set], places: Mapping[str, Config]) -> Config:
    backends: dict[str, Config] = {}
    routes: dict[str, Config] = {}
    for each in sets:
        unit, cell = each.unit, each.unit.cell
        p, f = f"{unit.id}-p", f"{unit.id}-f"
        place = _address(unit, places[cell.place]) if cell.place else {}
        backends[p] = {**of(each.primary), **UNPROBED, **place, **cell.primary_config}
        targets: list[Config] = [{"backend": p, "model": "model-p"}]
        if each.fallback is not None:
            backends[f] = {**of(each.fallback), **UNPROBED, **cell.fallback_config}
            targets.append({"backend": f, "model": "model-f", "prefill": cell.prefill})
        route: Config = {"models": [unit.id], "targets": targets, "retry": QUICK_RETRY}
        routes[unit.id] = {**route, **cell.route}
    return {
        "backends": backends,
        "routes": routes,
        "defaults": {
            "timeouts": {"connect": "5s", "first_token": "20s", "idle": "20s", "whole": "25s"}
        },
        "retry_budget": {"share": 0.2, "floor": "1000/s"},
    }


async def play(folder: Path, units: Sequence[Unit]) -> dict[str, Played]:
    """Play units of one client; gives how each went by its id."""
    async with AsyncExitStack() as stack:
        sets = [await _set(stack, unit) for unit in units]
        config = _configuration(sets, await _places(stack, folder))
        sidecar = await stack.enter_async_context(Sidecar(folder, config))
        sdk = CLIENTS[units[0].client](sidecar.base_url, "key-of-the-client")
        stack.push_async_callback(sdk.close)
        went: dict[str, tuple[Got | Answer | Failed | Exception, float, float]] = {}
        seats = asyncio.Semaphore(AT_A_TIME)

        async def one(each: _Set) -> None:
            async with seats:
                start = time.monotonic()
                outcome = await _ask(sidecar, sdk, each)
                went[each.unit.id] = outcome, start, time.monotonic() - start

        async with asyncio.TaskGroup() as group:
            for each in sets:
                group.create_task(one(each))
        owned = _by_owner(await _settled(sidecar, len(units)))
    return {
        each.unit.id: Played(
            each.unit,
            *went[each.unit.id],
            each.primary.requests,
            each.fallback.requests if each.fallback is not None else (),
            owned.get(each.unit.id, NONE),
            owned.get(f"{each.unit.id}-p", NONE),
            owned.get(f"{each.unit.id}-f", NONE),
        )
        for each in sets
    }


async def _set(stack: AsyncExitStack, unit: Unit) -> _Set:
    cell: Cell = unit.cell
    primary = await stack.enter_async_context(_backend("p", unit.p, cell.primary))
    if cell.fallback is None:
        return _Set(unit, primary, None)
    fallback = await stack.enter_async_context(_backend("f", unit.f, cell.fallback))
    return _Set(unit, primary, fallback)


async def _ask(sidecar: Sidecar, sdk: Client, each: _Set) -> Got | Answer | Failed | Exception:
    unit, heard = each.unit, each.primary.heard
    try:
        async with asyncio.timeout(HANG):
            if unit.way is Way.SDK:
                return await sdk.ask(Ask(unit.id, unit.streamed, "hi", heard=heard))
            body = {**chat(unit.client, stream=unit.streamed), "model": unit.id}
            start = time.monotonic()
            async with sidecar.opened(body, path=PATHS[unit.client]) as reply:
                return await read(reply, start, heard)
    except Exception as error:  # noqa: BLE001  # the cell's own test judges it
        return error


async def _settled(sidecar: Sidecar, requests: int) -> Metrics:
    """The numbers once every request has been counted."""
    return await sidecar.until_metric(
        lambda now: now.value("requests_total") == requests and now.value("inflight_requests") == 0,
        "every request is counted",
    )


def _by_owner(metrics: Metrics) -> dict[str, Metrics]:
    """The samples by the name of the route or the backend that they bear."""
    owned: dict[str, list[tuple[str, dict[str, str], float]]] = defaultdict(list)
    for sample in metrics.samples:
        for owner in {sample[1].get("route"), sample[1].get("backend")} - {None}:
            owned[str(owner)].append(sample)
    return {owner: Metrics(tuple(samples)) for owner, samples in owned.items()}
