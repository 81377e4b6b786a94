"""Measures what the service costs; see docs/service-results.md.

    python scripts/bench_service.py                           # everything, some 15 minutes
    python scripts/bench_service.py --only rates streams      # some of it
    python scripts/bench_service.py --venvs ~/venvs           # where comfy-api-proxy is put

Prints one JSON object. `rates`: GET of a job and POST of one beside a bare FastAPI application,
which answers the same bytes and validates the same body, by wrk (`apt install wrk`). `streams`:
memory of 500 open streams. `memory`: memory after 1,000 and up to 10,000 jobs. `overhead`: the time
a job takes through the whole service beside a loop of a bare client, jobs of 50 ms. `quick`: 500
jobs of some 2 ms on one engine, through the service and through comfy-api-proxy, by Comfy's own
SDK, and how many are told to have ended as they did. Servers run in processes of their own. Medians
of the rounds, with the least and the most in brackets.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib import metadata, util
from pathlib import Path
from typing import Any

import psutil
import requests
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orchestrator.client.client import Client
from orchestrator.local import launch
from orchestrator.local.process import python_environment
from orchestrator.protocol import files_of
from scripts.bench_batch_run import Fake, fakes, graph_of

PROXY = "comfy-api-proxy==0.1.6"
# connections of wrk, and s that it asks in a round
_CONNECTIONS, _SECONDS = 16, 4
# clients that post a job and wait for it, one after the other
_CLIENTS = 4
# Runs in wrk: a body to post, and the outcome as JSON.
_LUA = """
if os.getenv("BODY") then
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  local file = io.open(os.getenv("BODY")); wrk.body = file:read("*a"); file:close()
end
done = function(summary, latency, requests)
  local bad = summary.errors.status + summary.errors.read + summary.errors.timeout
  io.write(string.format('\\nRESULT {"rate": %f, "p50": %f, "p99": %f, "bad": %d}\\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, bad))
end
"""


class ServiceSession(requests.Session):
    """Requests to this machine, without proxies of the environment."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False


# ------------------------------------------------------------------------------ processes


@contextmanager
def running(command: Sequence[str], said: str, **more: Any) -> Iterator[tuple[str, int]]:
    """Run a server until the block ends; (URL, process id) once it has said its URL."""
    process = subprocess.Popen(
        list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(said, line):
                # Whatever it says later must not fill the pipe.
                threading.Thread(target=process.stdout.read, daemon=True).start()
                yield found[1], process.pid
                return
        raise SystemExit(f"{command[0]} did not start")
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def service(server: str, *options: str) -> Iterator[tuple[str, int]]:
    """Run `spriteworks serve` over one server, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "orchestrator", "serve", "--data", folder, "--port", "0"]
        command += ["--server", server, "--log-level", "warning", *options]
        with running(command, r"serving on (\S+)", env=python_environment()) as (url, pid):
            until(lambda: ServiceSession().get(f"{url}/ready").ok)
            yield url, pid


def until(so: Callable[[], bool], seconds: float = 600.0) -> None:
    late = time.monotonic() + seconds
    while not so():
        if time.monotonic() > late:
            raise SystemExit("it takes too long")
        time.sleep(0.05)


def _wrk(url: str, body: Path | None = None) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "wrk.lua"
        script.write_text(_LUA, encoding="utf-8")
        command = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{_SECONDS}s", "--latency"]
        environment = {**os.environ, **({} if body is None else {"BODY": str(body)})}
        told = subprocess.run(
            [*command, "-s", str(script), url],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        ).stdout
    found: dict[str, float] = json.loads(told.rpartition("RESULT ")[2])
    if found.pop("bad"):
        raise SystemExit(f"{url} refused requests of wrk:\n{told}")
    return found


def post(url: str, number: int = 0) -> str:
    answer = ServiceSession().post(f"{url}/api/v2/jobs", json={"workflow": graph_of(number)})
    answer.raise_for_status()
    return str(answer.json()["id"])


def _ended(url: str, id: str) -> dict[str, Any]:
    job: dict[str, Any] = {}

    def has() -> bool:
        job.update(ServiceSession().get(f"{url}/api/v2/jobs/{id}").json())
        return job["status"] in ("succeeded", "failed", "canceled", "expired")

    until(has)
    return job


def _mid(values: Sequence[float], digits: int = 3) -> str:
    """The median, and the least and the most."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} [{low:.{digits}f} to {high:.{digits}f}]"


# --------------------------------------------------------------------------- measurements


def rates(rounds: int) -> dict[str, Any]:
    """GET and POST beside a bare application, in turn."""
    with ExitStack() as stack:
        (fake,) = stack.enter_context(fakes(1, 0.0))
        url, _ = stack.enter_context(service(fake.url))
        done = _ended(url, post(url))["id"]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        answer = folder / "answer.json"
        answer.write_bytes(ServiceSession().get(f"{url}/api/v2/jobs/{done}").content)
        body = folder / "body.json"
        body.write_text(json.dumps({"workflow": graph_of(0)}), encoding="utf-8")
        command = [sys.executable, "-m", "scripts.bench.bare", str(answer)]
        bare, _ = stack.enter_context(running(command, r"(http://\S+)"))
        (slow,) = stack.enter_context(fakes(1, 3600.0))
        busy, _ = stack.enter_context(service(slow.url))
        return {
            "GET": _beside(rounds, f"{bare}/jobs/{done}", f"{url}/api/v2/jobs/{done}"),
            "POST, jobs wait": _beside(
                rounds, f"{bare}/jobs", f"{busy}/api/v2/jobs", body, lambda: _cancel_all(busy)
            ),
            "POST, jobs end at once": _beside(
                rounds, f"{bare}/jobs", f"{url}/api/v2/jobs", body, lambda: _drained(url)
            ),
        }


def _cancel_all(url: str) -> None:
    # again and again: some that wrk posted last may still be on their way in
    until(lambda: not _cancelled(url))


def _cancelled(url: str) -> int:
    answer = ServiceSession().delete(f"{url}/v1/jobs", params={"which": "all"}, timeout=300)
    answer.raise_for_status()
    count: int = answer.json()["cancelled"]
    return count


def _beside(
    rounds: int,
    bare: str,
    ours: str,
    body: Path | None = None,
    clear: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        one, two = _wrk(bare, body), _wrk(ours, body)
        for name, value in (
            ("bare_per_s", one["rate"]),
            ("ours_per_s", two["rate"]),
            ("ratio", two["rate"] / one["rate"]),
            ("bare_p99_ms", one["p99"]),
            ("ours_p50_ms", two["p50"]),
            ("ours_p99_ms", two["p99"]),
        ):
            found.setdefault(name, []).append(value)
        clear()
    return {name: _mid(values) for name, values in found.items()}


def _drained(url: str) -> None:
    session = ServiceSession()

    def is_drained() -> bool:
        found = session.get(f"{url}/metrics").text
        counts = re.findall(r'^spriteworks_jobs\{status="(queued|running)"\} (\S+)', found, re.M)
        return not any(float(count) for _, count in counts)

    until(is_drained)


def _kib(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 1024


def streams(rounds: int, count: int = 500) -> dict[str, Any]:
    """Memory of open streams of one running job, and whether each is told of its end."""
    sizes, told, seconds = [], [], []
    for _ in range(rounds):
        with fakes(1, 20.0) as (fake,), service(fake.url) as (url, pid), ExitStack() as stack:
            id = post(url)
            for _ in range(50):
                ServiceSession().get(f"{url}/api/v2/jobs/{id}")
            time.sleep(1)
            before = _kib(pid)
            lines = [stack.enter_context(_watching(url, id)) for _ in range(count)]
            for line in lines:
                line.recv(4096)
            time.sleep(2)
            sizes.append((_kib(pid) - before) / count)
            began = time.monotonic()
            ServiceSession().post(f"{url}/api/v2/jobs/{id}/cancel").raise_for_status()
            told.append(sum(b'"canceled"' in _rest(line) for line in lines))
            seconds.append(time.monotonic() - began)
    return {
        "streams": count,
        "kib_each": _mid(sizes, 1),
        "told_of_the_end": told,
        "s_until_all_were": _mid(seconds, 2),
    }


@contextmanager
def _watching(url: str, id: str) -> Iterator[socket.socket]:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as line:
        head = f"GET /api/v2/jobs/{id}/events HTTP/1.1\r\nHost: {host}\r\n\r\n"
        line.sendall(head.encode())
        yield line


def _rest(line: socket.socket) -> bytes:
    text = b""
    while b'"canceled"' not in text and (chunk := line.recv(65536)):
        text += chunk
    return text


def memory(jobs: int) -> dict[str, Any]:
    """Memory after each 1,000 jobs that were posted and made."""
    with fakes(1, 0.0) as (fake,), service(fake.url) as (url, pid):
        session, found = ServiceSession(), {0: round(_kib(pid) / 1024, 1)}
        began = time.monotonic()
        for first in range(0, jobs, 1000):
            for number in range(first, first + 1000):
                body = {"workflow": graph_of(number)}
                session.post(f"{url}/api/v2/jobs", json=body).raise_for_status()
            _drained(url)
            found[first + 1000] = round(_kib(pid) / 1024, 1)
        wall = time.monotonic() - began
        metrics = session.get(f"{url}/metrics").text
        made = re.search(r'^spriteworks_jobs\{status="succeeded"\} (\S+)', metrics, re.M)
        done = float(made[1]) if made else 0.0
    return {"mib_after": found, "succeeded": done, "jobs_per_s": round(jobs / wall, 1)}


def overhead(rounds: int, jobs: int = 100) -> dict[str, Any]:
    """s a job through the service beside a bare client's loop, each job 50 ms on the server."""
    bare, ours = [], []
    with fakes(1, 0.05) as (fake,):
        for number in range(rounds):
            first = 1 + 2 * number * jobs
            bare.append(_client_loop(fake, first, jobs))
            ours.append(_through_the_service(fake, first + jobs, jobs))
    ratios = [two / one for one, two in zip(bare, ours, strict=True)]
    return {
        "bare_ms_per_job": _mid([1000 * one for one in bare], 1),
        "ours_ms_per_job": _mid([1000 * one for one in ours], 1),
        "ratio": _mid(ratios),
    }


def _client_loop(fake: Fake, first: int, jobs: int) -> float:
    with Client(fake.url) as client:
        began = time.monotonic()
        for number in range(first, first + jobs):
            record = client.wait(client.submit(graph_of(number)).prompt_id)
            for _, file in files_of(record.outputs):
                client.content(file)
        return (time.monotonic() - began) / jobs


def _through_the_service(fake: Fake, first: int, jobs: int) -> float:
    with service(fake.url) as (url, _):
        session, began = ServiceSession(), time.monotonic()
        for number in range(first, first + jobs):
            body = {"workflow": graph_of(number)}
            session.post(f"{url}/api/v2/jobs", json=body).raise_for_status()
        page = {"status": "succeeded", "limit": "100"}
        until(lambda: len(session.get(f"{url}/api/v2/jobs", params=page).json()["jobs"]) == jobs)
        return (time.monotonic() - began) / jobs


# --------------------------------------------------------------------- beside the proxy


def quick(rounds: int, jobs: int, venvs: Path) -> dict[str, Any]:
    """Quick jobs through both on one engine, in turn: what the SDK says became of them."""
    found: dict[str, list[Any]] = {"ours": [], "proxy": []}
    command = [str(_proxy(venvs)), "run", "--port"]
    with launch.engine() as engine:
        for turn in range(rounds):
            first = 2 * turn * jobs
            with service(engine.url) as (url, _):
                found["ours"].append(_by_sdk(url, engine.url, range(first, first + jobs)))
            with tempfile.TemporaryDirectory() as state:
                port = _free_port()
                options = [str(port), "--comfyui", engine.url, "--state-dir", state]
                with running([*command, *options], "(running on http|8189|" + str(port) + ")"):
                    url = f"http://127.0.0.1:{port}"
                    until(lambda url=url: _answers(url))  # type: ignore[misc]
                    numbers = range(first + jobs, first + 2 * jobs)
                    found["proxy"].append(_by_sdk(url, engine.url, numbers))
    return {"jobs": jobs, "proxy_is": PROXY, "sdk": metadata.version("comfy-sdk"), **found}


def _answers(url: str) -> bool:
    try:
        return ServiceSession().get(f"{url}/api/v2/health", timeout=2).ok
    except requests.RequestException:
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _proxy(venvs: Path) -> Path:
    folder = venvs / "comfy-api-proxy"
    found = folder / ("Scripts" if os.name == "nt" else "bin")
    if not (found / "comfy-api-proxy").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([found / "pip", "install", "-q", PROXY], check=True)
    return found / "comfy-api-proxy"


def _by_sdk(url: str, engine: str, numbers: Sequence[int]) -> dict[str, Any]:
    import comfy_sdk

    os.environ["COMFY_BASE_URL"] = url
    before = _succeeded(engine)
    began = time.monotonic()
    with comfy_sdk.Comfy() as client, ThreadPoolExecutor(_CLIENTS) as pool:

        def made(number: int) -> Any:
            job = client.submit(client.workflows.from_json(graph_of(number)))
            return job.wait(timeout=300)

        ended = list(pool.map(made, numbers))
        seconds = time.monotonic() - began
        right = sum(
            job.status == "succeeded"
            and [_color_of(output.to_bytes()) for output in job.outputs] == [number]
            for job, number in zip(ended, numbers, strict=True)
        )
    return {
        "told": dict(Counter(str(job.status) for job in ended)),
        "with_the_right_picture": right,
        "succeeded_on_the_engine": _succeeded(engine) - before,
        "s": round(seconds, 1),
    }


def _color_of(content: bytes) -> int:
    pixel = Image.open(io.BytesIO(content)).convert("RGB").resize((1, 1)).tobytes()
    return int.from_bytes(pixel, "big")


def _succeeded(engine: str) -> int:
    history = ServiceSession().get(f"{engine}/history", params={"max_items": 100_000}).json()
    return sum(one["status"]["status_str"] == "success" for one in history.values())


# ---------------------------------------------------------------------------------- main


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = ("rates", "streams", "memory", "overhead", "quick")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=10_000, help="of `memory`")
    parser.add_argument("--quick", type=int, default=500, help="jobs of `quick`")
    parser.add_argument("--venvs", type=Path, default=Path(tempfile.gettempdir()) / "venvs")
    options = parser.parse_args()
    if "rates" in options.only and shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt install wrk, or leave out `rates` by --only")
    few = min(options.rounds, 3)
    measure: dict[str, Callable[[], Any]] = {
        "rates": lambda: rates(options.rounds),
        "streams": lambda: streams(few),
        "memory": lambda: memory(options.jobs),
        "overhead": lambda: overhead(few),
        "quick": lambda: quick(few, options.quick, options.venvs),
    }
    about = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "uvicorn": metadata.version("uvicorn"),
        "fastapi": metadata.version("fastapi"),
        "httptools": util.find_spec("httptools") is not None,
        "uvloop": util.find_spec("uvloop") is not None,
    }
    found: dict[str, Any] = {}
    for name in options.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found[name] = measure[name]()
        print(json.dumps(found[name]), file=sys.stderr, flush=True)
    print(json.dumps({**about, **found}, indent=1))


if __name__ == "__main__":
    main()
