"""How servers of tests begin and end: at an address that stays theirs, and losing no connection."""

from __future__ import annotations

import asyncio
import socket


def keep(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """Hold an address without listening, so that nobody else is given it; raises OSError.

    Connections are refused there while no server listens beside it, which needs `reuse_port`.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        keeper.bind((host, port))
    except OSError:
        keeper.close()
        raise
    return keeper


async def close(*servers: asyncio.Server) -> None:
    """Let nobody in any more; what has come in is with its server then, and not on its way there.

    Before Python 3.12 a server that is closed between its `accept` and the making of the transport
    loses that connection, open.
    """
    loop = asyncio.get_running_loop()
    for server in servers:
        for listener in server.sockets:
            loop.remove_reader(listener.fileno())
    for _ in range(3):  # until the transport is made, its protocol told, and its handler begun
        await asyncio.sleep(0)
    for server in servers:
        server.close()
