"""Where the tunnel leads, when the public listener is not where a changed file would have it."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.harness import free_port
from tests.e2e.strangers import offered
from tests.e2e.tunnel.exposed import QUICK, Exposed
from tests.e2e.tunnel.harness import Ground, through_the_name
from tests.fakes.backend import Backend


@through_the_name
async def test_the_tunnel_stays_before_a_listener_that_cannot_move(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    async with (
        Backend("bare") as bare,
        Exposed(tmp_path, place, backend) as sidecar,
        place.visitor() as http,
    ):
        child, config = await sidecar.child(), sidecar.config
        assert isinstance(config, dict)
        sidecar.public_port = bare.port
        await sidecar.reload(config)
        assert "restart needed: listeners.public" in sidecar.output
        assert {(await sidecar.ask_from_outside(http))[0] for _ in range(8)} == {200}
        told = await sidecar.tunnel()
        assert (told["state"], told["replacing"]) == ("healthy", None)
        assert (told["child"]["pid"], bare.requests) == (child, [])


@through_the_name
async def test_nobody_is_exposed_who_has_the_port_of_the_listener(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    sidecar = Exposed(tmp_path, place, backend)
    sidecar.config, sidecar.public, sidecar.waits = offered(backend), None, False
    bare = Backend("bare")
    bare.port = free_port()  # one that it gives back at its end
    async with sidecar:
        async with bare:
            sidecar.public_port, sidecar.public = bare.port, {}
            await sidecar.reload({**offered(backend), "tunnel": place.section(**QUICK)})
            told = await sidecar.until_tunnel(lambda told: told["why"], "it says why")
            assert (told["state"], told["child"]) == ("disabled", None)
            assert "the public listener is not open: Port" in told["why"]
            assert (await sidecar.metrics()).value("tunnel_up", tunnel="main") == 0
            assert (await sidecar.command("tunnel", "restart"))[1].startswith("The tunnel is off")
            assert bare.requests == []
        await sidecar.until_state("healthy")
        assert (await sidecar.tunnel())["why"] == ""
        assert sidecar.output.count("the public listener is not open") == 1
