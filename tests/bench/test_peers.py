"""What is started beside the bus is set up as the results say, and is said to be missing where it is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.load import Window
from bench.peer import run_peer
from bench.redis.nchan import MISSING, configuration, module_line, stream_path
from bench.redis.redis_server import Round, redis_command, redis_costs
from bench.redis.wrk import read_summary, wrk_script
from bench.server import Launcher, Server
from bench.websocket import Opening

GOOD = '{"requests":1000,"microseconds":2000000,"connect":0,"read":0,"write":0,"status":0,"timeout":0}'


def test_the_summary_of_wrk_is_its_last_line() -> None:
    """The report before it is for people."""
    summary = read_summary(f"Running 2s test\n  1 threads\nRequests/sec: 500\n\n{GOOD}\n")

    assert (summary.requests, summary.seconds) == (1000, 2.0)


@pytest.mark.parametrize("failure", ["connect", "read", "write", "status", "timeout"])
def test_a_request_that_failed_fails_the_round(failure: str) -> None:
    """A rate with refused requests in it would mean nothing."""
    with pytest.raises(BenchError, match=failure):
        read_summary(GOOD.replace(f'"{failure}":0', f'"{failure}":3'))


def test_no_answer_at_all_fails_the_round() -> None:
    """A server that answers nothing has no failed request either."""
    with pytest.raises(BenchError):
        read_summary(GOOD.replace("1000", "0"))


def test_the_script_of_wrk_posts_the_body() -> None:
    """The braces of Lua survive the filling in, and the summary it prints can be read."""
    script = wrk_script(Path("/data/body.json"))

    assert 'io.open("/data/body.json", "rb")' in script
    assert '{"requests":%d,' in script
    assert "{{" not in script


def test_nchan_keeps_messages_in_redis_with_one_worker() -> None:
    """What the results say of the peer stands in its configuration."""
    text = configuration("load_module m.so;\n", "redis://127.0.0.1:7000/0", 8000, Path("/data"))

    assert "worker_processes 1;" in text
    assert "nchan_redis_server redis://127.0.0.1:7000/0;" in text
    assert text.count("nchan_redis_pass store;") == 2
    assert "listen 127.0.0.1:8000 " in text
    assert text.count("{") == text.count("}")
    assert "nchan_store_messages off" not in text


def test_the_module_of_nginx_is_found(tmp_path: Path) -> None:
    """As a file of its own, or built in."""
    module = tmp_path / "ngx_nchan_module.so"
    module.touch()

    assert f"load_module {module};\n" == module_line(f"configure arguments: --modules-path={tmp_path} --with-x")
    assert not module_line("configure arguments: --add-module=/src/nchan-1.3.6")


def test_a_missing_module_says_what_to_install(tmp_path: Path) -> None:
    """The message names the packages."""
    with pytest.raises(BenchError, match="libnginx-mod-nchan") as raised:
        module_line(f"configure arguments: --modules-path={tmp_path}")

    assert str(raised.value) == MISSING


def test_redis_syncs_its_file_every_second(tmp_path: Path) -> None:
    """As the results say, and never evicts."""
    command = redis_command(7000, tmp_path)
    settings = dict(zip(command[1::2], command[2::2], strict=True))

    assert tuple(settings[f"--{name}"] for name in ("appendonly", "appendfsync", "maxmemory-policy")) == (
        "yes",
        "everysec",
        "noeviction",
    )
    assert str(tmp_path) == settings["--dir"]


def test_the_cost_of_redis_is_that_of_all_that_was_counted() -> None:
    """Warm-up included, on both sides of the division."""
    window = Window(per_second=10, server_core_share=0.5, load_core_share=0.1, other_core_share=0, completed=200)

    figure = redis_costs("bus", [Round(window=window, redis_cpu_seconds=0.4)], "event", 100)

    assert figure.values == [20.0]


def test_a_socket_without_subprotocol_asks_for_none(tmp_path: Path) -> None:
    """A peer streams from the opening on: no subprotocol, no request; another one than asked for is refused."""
    opening = Opening(path=stream_path("x"), subprotocol=None, request=None)
    process = _sleeping(tmp_path)
    with process as server:
        handshake = opening.handshake(server)

    assert handshake.startswith(b"GET /stream/x HTTP/1.1\r\n")
    assert handshake.endswith(b"\r\n\r\n")
    assert b"Sec-WebSocket-Protocol" not in handshake
    with pytest.raises(BenchError):
        opening.check(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: other")


def test_a_server_is_gone_after_its_block(tmp_path: Path) -> None:
    """Its process and its workers have ended and its files are removed; until then its workers count as its own."""
    with _sleeping(tmp_path) as server:
        directory = server.data_directory
        ids = server.process_ids()
        assert directory.is_dir()
        assert server.process.poll() is None
        assert server.process.pid == ids[0]

    assert server.process.poll() is not None
    assert not directory.exists()


def test_what_a_server_failed_with_is_told(tmp_path: Path) -> None:
    """The end of its log is in the error, not only that it ended."""
    launcher = Launcher(directory=tmp_path, core=None)
    command = ["sh", "-c", "echo no such module >&2; exit 3"]
    with (
        pytest.raises(BenchError, match=r"(?s)peer ended with 3.*no such module"),
        launcher.running("peer", lambda *_: command, is_ready=_never),
    ):
        pass


def _never(_: int) -> bool:
    return False


def _sleeping(directory: Path) -> AbstractContextManager[Server]:
    """Run a process that is ready at once."""
    launcher = Launcher(directory=directory, core=None)
    return launcher.running("sleeper", lambda *_: ["sleep", "60"], is_ready=lambda _: True)


def test_a_peer_that_fails_tells_why(tmp_path: Path) -> None:
    """The end of its errors is in the error of the round."""
    events = tmp_path / "events"
    events.write_bytes(b"{}\n")

    with pytest.raises(BenchError, match="has 1 events, not 2"):
        run_peer("bench.webhook_loop", ["--url", "http://127.0.0.1:9/", "--events", events, "--count", 2], None)
