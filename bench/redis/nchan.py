"""The peer: nginx with its nchan module, one worker, every message stored in Redis and published through it."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from bench.errors import BenchError
from bench.server import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import redis

    from bench.redis.redis_server import RedisServer
    from bench.server import Launcher, Server

NAME: Final = "nchan"
MISSING: Final = (
    "the peer is missing: nginx with its nchan module is not installed; on Debian and Ubuntu,"
    " apt-get install nginx-light libnginx-mod-nchan"
)
_SEARCHED: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
"""Where nginx is: in the folders of the superuser too, which others may not have on their path."""

_CONFIGURATION: Final = """\
{module}daemon off;
{user}worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr error;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  scgi_temp_path {directory}/scgi;
  uwsgi_temp_path {directory}/uwsgi;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  client_body_buffer_size 64k;
  tcp_nodelay on;
  nchan_shared_memory_size 1024M;
  nchan_message_timeout 1h;
  nchan_message_buffer_length {messages_max};
  upstream store {{ nchan_redis_server {redis_url}; }}
  server {{
    listen {host}:{port} backlog=1024;
    location = /ready {{ return 200; }}
    location ~ ^/publish/(\\w+)$ {{
      nchan_publisher http;
      nchan_channel_id $1;
      nchan_redis_pass store;
    }}
    location ~ ^/stream/(\\w+)$ {{
      nchan_subscriber websocket;
      nchan_channel_id $1;
      nchan_redis_pass store;
      nchan_subscriber_first_message oldest;
    }}
  }}
}}
"""
MESSAGES_MAX: Final = 10_000_000
"""Messages kept for a channel: as many as the event bus keeps, so that neither side trims."""


def publish_path(channel: str) -> str:
    """Return where a message of `channel` is posted."""
    return f"/publish/{channel}"


def stream_path(channel: str) -> str:
    """Return where `channel` is read, from its oldest message on."""
    return f"/stream/{channel}"


@contextlib.contextmanager
def running(launcher: Launcher, store: RedisServer) -> Iterator[Server]:
    """Run nginx on the service's core. Raises BenchError with `MISSING` where it or its module is not there."""
    command = nchan_command(store.url)
    with launcher.running(NAME, command) as server:
        yield server


def nchan_command(redis_url: str) -> Callable[[int, Path], Sequence[str]]:
    """Return what writes the configuration and starts nginx with it. Raises BenchError where nginx is missing."""
    nginx = shutil.which("nginx", path=_SEARCHED)
    if nginx is None:
        raise BenchError(MISSING)
    built = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=True).stderr
    module = module_line(built)

    def start(port: int, directory: Path) -> Sequence[str]:
        path = directory / "nginx.conf"
        path.write_text(configuration(module, redis_url, port, directory), encoding="utf-8")
        return [nginx, "-e", "stderr", "-p", str(directory), "-c", str(path)]

    return start


def configuration(module: str, redis_url: str, port: int, directory: Path) -> str:
    """Return nginx' configuration: one worker, everything it writes below `directory`, messages kept in Redis."""
    # The superuser's worker would change to a user who may not enter the directory.
    user = f"user {getpass.getuser()};\n" if os.geteuid() == 0 else ""
    return _CONFIGURATION.format(
        module=module,
        user=user,
        directory=directory,
        messages_max=MESSAGES_MAX,
        redis_url=redis_url,
        host=HOST,
        port=port,
    )


def module_line(built: str) -> str:
    """Return the line that loads nchan, from what `nginx -V` says; empty where nginx was built with it.

    Raises BenchError with `MISSING` where there is no such module.
    """
    found = re.search(r"--modules-path=(\S+)", built)
    module = Path(found[1]) / "ngx_nchan_module.so" if found else None
    if module is not None and module.is_file():
        return f"load_module {module};\n"
    if re.search(r"--add-module=\S*nchan", built):
        return ""
    raise BenchError(MISSING)


def check_stored(client: redis.Redis, channel: str, bodies: Sequence[bytes], answered: int) -> int:
    """Return how many messages of `channel` Redis holds: all that were answered, the newest one of `bodies`.

    Raises BenchError where they are not there: nchan can also keep messages in nginx' memory alone.
    """
    prefix = f"{{channel:/{channel}}}".encode()
    messages = cast("list[bytes]", client.lrange(f"{prefix.decode()}:messages", 0, 0))
    newest = cast("dict[bytes, bytes]", client.hgetall(prefix + b":msg:" + messages[0])) if messages else {}
    if not set(bodies) & set(newest.values()):
        raise BenchError(f"nchan does not keep the messages of {channel} in Redis: {newest or messages}")
    kept = client.llen(f"{prefix.decode()}:messages")
    if kept < answered:
        raise BenchError(f"nchan answered {answered} messages of {channel} and keeps {kept} in Redis")
    return kept
