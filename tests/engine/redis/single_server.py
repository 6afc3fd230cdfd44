"""One real server that runs as long as a ``with`` block, for tests of connections and of replies.

Unlike `tests.redis_servers.RedisServer` it is never spoken to by anybody but the test: what was run on it, how many
clients it has, and that it is still loading are what the tests look at.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

from tests.redis_servers.port import unused_port
from tests.redis_servers.program import Program, program_path
from waooaw.events.engine.redis.address import Credentials, Node, parse_address
from waooaw.events.engine.redis.connecting import Connector, NodeConnection, TlsFiles
from waooaw.events.name_lookup import NameLookup

READY: Final = ("Ready to accept connections", "Server initialized")
CONNECT_SECONDS: Final = 20.0


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, program: Program = "redis", port: int | None = None) -> Iterator[int]:
    """Run a server with arguments such as ``--appendonly yes`` (each word one), and give its port; kill it at the end.

    Without ``port`` it is a free one; port 0 leaves the choice to ``arguments`` (TLS).
    """
    port = unused_port() if port is None else port
    command = [
        str(program_path(program)),
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--dir",
        str(folder),
        "--save",
        "",
        *arguments,
    ]
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
