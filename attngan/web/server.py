"""The server: uvicorn in a thread, stopped in order as every command is."""

import socket
from asyncio import BaseTransport, Transport
from concurrent.futures import ThreadPoolExecutor, wait
from typing import cast

from starlette.applications import Starlette
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from attngan.errors import InputError, require_at_least
from attngan.stopping import Stopped
from attngan.terminal import say

#: Connections of all visitors, and of one; a browser opens six.
CONNECTIONS, CONNECTIONS_OF_ONE = 256, 32
#: Drawings that are under way when the server is stopped have this long, in seconds.
GRACE = 10


class _FewConnections(H11Protocol):
    """Closes the connections of a visitor who has too many already."""

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast(Transport, transport))
        there = [other for other in self.connections if isinstance(other, H11Protocol)]
        if sum(_host(other) == _host(self) for other in there) > CONNECTIONS_OF_ONE:
            self.transport.abort()


def _host(connection: H11Protocol) -> str | None:
    return connection.client[0] if connection.client else None


def listen(host: str, port: int) -> socket.socket:
    """A socket where connections wait until the server takes them.

    Args:
        host: Name or address.
        port: 0 for any that is free.

    Raises:
        InputError: It cannot be had; says why.
    """
    require_at_least(0, 65535, port=port)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen()
    except OSError as error:
        raise InputError(
            f"cannot listen at {host}, port {port} ({error.strerror or error}): choose another --port"
        ) from error
    return bound


def url_of(bound: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = bound.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"


def serve_until_stopped(application: Starlette, bound: socket.socket) -> None:
    """Answers requests until the process is asked to stop; what is being drawn then is finished first.

    Args:
        application: What answers.
        bound: From `listen`.

    Raises:
        Stopped: The process was asked to.
    """
    config = Config(
        application,
        http=_FewConnections,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,  # anybody could claim to be somebody else
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
    )
    server = Server(config)
    with ThreadPoolExecutor(1, "server") as thread:  # signals are heard in the main thread alone
        finished = thread.submit(server.run, [bound])
        try:
            while not wait([finished], timeout=1).done:
                pass
            finished.result()
        except Stopped:
            say("what is being drawn is finished first (again to stop at once)")
            raise
        finally:
            server.should_exit = True
