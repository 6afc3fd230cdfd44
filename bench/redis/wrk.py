"""The load generator wrk, given one body and asked for one line of JSON."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.errors import BenchError
from bench.load import Window
from bench.server import HOST

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report import Context
    from bench.server import Server

_SCRIPT: Final = """\
local file = assert(io.open("{body}", "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
file:close()
function done(summary)
  local errors = summary.errors
  io.write(string.format('\\n{{"requests":%d,"microseconds":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\\n',
    summary.requests, summary.duration, errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"""
_GRACE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrk:
    """One way of driving a server: connections of one thread, and one body."""

    connections: int
    warm_up_seconds: float
    seconds: float
    script: Path

    @classmethod
    def posting(cls, body: bytes, context: Context, *, connections: int) -> Wrk:
        """Write the body and the script into the run's directory. Raises BenchError where wrk is not installed."""
        if shutil.which("wrk") is None:
            raise BenchError("wrk is not installed: on Debian and Ubuntu, apt-get install wrk")
        path = context.directory / "body.json"
        path.write_bytes(body)
        script = context.directory / "post.lua"
        script.write_text(wrk_script(path), encoding="utf-8")
        return cls(
            connections=connections,
            warm_up_seconds=context.warm_up_seconds,
            seconds=context.seconds,
            script=script,
        )

    def drive(self, server: Server, path: str) -> Window:
        """Post to `path` for one round. Raises BenchError where a request failed or was refused."""
        warm = self._run(server, path, self.warm_up_seconds)
        began, server_cpu, load_cpu, other = (
            time.perf_counter(),
            server.cpu_seconds(),
            _children_seconds(),
            server.other_work_seconds(),
        )
        summary = self._run(server, path, self.seconds)
        elapsed = time.perf_counter() - began
        return Window(
            per_second=summary.requests / summary.seconds,
            server_core_share=(server.cpu_seconds() - server_cpu) / elapsed,
            load_core_share=(_children_seconds() - load_cpu) / elapsed,
            other_core_share=(server.other_work_seconds() - other) / elapsed,
            completed=warm.requests + summary.requests,
        )

    def _run(self, server: Server, path: str, seconds: float) -> Summary:
        # wrk takes whole seconds.
        command = ["wrk", "-t1", f"-c{self.connections}", f"-d{max(1, round(seconds))}s", "-s", str(self.script)]
        done = subprocess.run(
            [*command, f"http://{HOST}:{server.port}{path}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + _GRACE_SECONDS,
        )
        if done.returncode:
            raise BenchError(f"wrk ended with {done.returncode}: {done.stderr or done.stdout}")
        return read_summary(done.stdout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What wrk counted: answers that came, and the time they took."""

    requests: int
    seconds: float


def wrk_script(body: Path) -> str:
    """Return the script that posts the file `body` again and again."""
    return _SCRIPT.format(body=body)


def read_summary(output: str) -> Summary:
    """Return what the script's last line says. Raises BenchError where any request failed or was refused."""
    said = json.loads(output.rstrip().rpartition("\n")[2])
    requests, microseconds = said.pop("requests"), said.pop("microseconds")
    failures = {name: count for name, count in said.items() if count}
    if failures or not requests:
        raise BenchError(f"of {requests} requests some failed: {failures}")
    return Summary(requests=requests, seconds=microseconds / 1e6)


def _children_seconds() -> float:
    """Return the processor time of all processes that this one started and that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
