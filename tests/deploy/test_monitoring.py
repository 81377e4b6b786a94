"""Prometheus, its alerts and Grafana's dashboard, on figures of a real service."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from orchestrator.testing import FakeServer, Script
from service_world import World, graph, until
from worker_world import cluster

PROMETHEUS = "apt-get install prometheus"
_NAME = re.compile(r"spriteworks_[a-z_]+")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service that has done something, with a worker."""
    with FakeServer() as fake, cluster(tmp_path_factory.mktemp("service"), fake.url) as world:
        fake.script(Script(fail_in="2"))
        for color in range(3):
            assert world.ended(world.post(graph(color=color)).json()["id"])["outputs"]
        yield world


def metrics(world: World) -> str:
    return world.call("GET", "/metrics").text


def names(text: str) -> set[str]:
    """Metrics of ours in an expression, or in what was told."""
    return set(_NAME.findall(text))


def dashboard(deploy: Path) -> dict[str, Any]:
    path = deploy / "grafana" / "dashboards" / "spriteworks.json"
    board: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return board


def queries(deploy: Path) -> list[str]:
    """The expressions of all panels, as Prometheus gets them from Grafana."""
    return [
        target["expr"].replace("$__rate_interval", "1m")
        for panel in dashboard(deploy)["panels"]
        for target in panel.get("targets", [])
    ]


def rules(deploy: Path) -> list[dict[str, Any]]:
    read = yaml.safe_load((deploy / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in read["groups"] for rule in group["rules"]]


def test_prometheus_takes_its_configuration(
    deploy: Path, tool: Callable[..., str], said: Callable[..., str]
) -> None:
    promtool = tool("promtool", PROMETHEUS)
    # it follows rule_files, too
    told = said(promtool, "check", "config", "prometheus.yml", cwd=deploy)
    assert f"{len(rules(deploy))} rules found" in told


def test_alerts_fire_when_they_should_and_only_then(
    tool: Callable[..., str], said: Callable[..., str]
) -> None:
    said(tool("promtool", PROMETHEUS), "test", "rules", Path(__file__).with_name("alerts_test.yml"))


def test_every_alert_is_tried_both_ways(deploy: Path) -> None:
    read = yaml.safe_load(Path(__file__).with_name("alerts_test.yml").read_text(encoding="utf-8"))
    tried = {
        (one["alertname"], bool(one["exp_alerts"]))
        for test in read["tests"]
        for one in test["alert_rule_test"]
    }
    alerts = {rule["alert"] for rule in rules(deploy)}
    assert tried == {(alert, fires) for alert in alerts for fires in (True, False)}


def test_what_the_service_tells_is_good_form(
    world: World, tool: Callable[..., str], said: Callable[..., str]
) -> None:
    # names, units, types and help texts as Prometheus' own conventions have them
    assert not said(tool("promtool", PROMETHEUS), "check", "metrics", stdin=metrics(world))


def test_dashboard_and_alerts_ask_for_what_there_is(world: World, deploy: Path) -> None:
    there = {line.split()[2] for line in metrics(world).splitlines() if line.startswith("# TYPE")}
    on_board = names(" ".join(queries(deploy)))
    in_alerts = names(" ".join(rule["expr"] for rule in rules(deploy)))
    assert on_board | in_alerts <= there
    assert there <= on_board, "a metric that no panel shows"


def test_panels_have_places_of_their_own(deploy: Path) -> None:
    panels = dashboard(deploy)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not taken & cells, panel["title"]
        taken |= cells


def test_grafana_finds_what_is_provisioned(deploy: Path) -> None:
    provisioning = deploy / "grafana" / "provisioning"
    (source,) = yaml.safe_load(
        (provisioning / "datasources" / "prometheus.yml").read_text(encoding="utf-8")
    )["datasources"]
    (provider,) = yaml.safe_load(
        (provisioning / "dashboards" / "spriteworks.yml").read_text(encoding="utf-8")
    )["providers"]
    compose = yaml.safe_load((deploy / "docker-compose.yml").read_text(encoding="utf-8"))
    grafana = compose["services"]["grafana"]
    mounted = {each.split(":")[1]: each.split(":")[0] for each in grafana["volumes"]}
    assert (deploy / mounted["/etc/grafana/provisioning"]).samefile(provisioning)
    assert (deploy / mounted[provider["options"]["path"]] / "spriteworks.json").is_file()
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home.parent == Path(provider["options"]["path"])
    assert source["url"] == "http://prometheus:9090"
    (variable,) = dashboard(deploy)["templating"]["list"]
    assert (variable["query"], variable["current"]["value"]) == (source["type"], source["uid"])
    # how far apart two figures are, which Grafana cannot see
    config = yaml.safe_load((deploy / "prometheus.yml").read_text(encoding="utf-8"))
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_grafana_knows_every_field_of_the_dashboard(deploy: Path) -> None:
    """What the types of Grafana's own SDK do not keep, Grafana does not read."""
    sdk = "pip install grafana-foundation-sdk"
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason=sdk)
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    plugins.register_default_plugins()
    board = dashboard(deploy)
    kept = json.loads(JSONEncoder().encode(models.Dashboard.from_json(board)))
    assert not list(lost(board, kept, "dashboard"))


def lost(before: Any, after: Any, where: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after.get(key), f"{where}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{where}[{number}]")
    elif before != after:
        yield f"{where}: {before!r} became {after!r}"


def test_a_real_prometheus_answers_every_panel(
    world: World, deploy: Path, tool: Callable[..., str], tmp_path: Path
) -> None:
    program = tool("prometheus", PROMETHEUS)
    with prometheus(program, deploy, world.url, tmp_path) as url:
        # two figures of each counter are a rate
        until(lambda: ask(url, "count_over_time(spriteworks_files[1m])"), at_least_two)
        assert not [query for query in queries(deploy) if not ask(url, query)]
        (group,) = requests.get(f"{url}/api/v1/rules", timeout=30).json()["data"]["groups"]
        found = {rule["name"]: rule for rule in group["rules"]}
        until(
            lambda: requests.get(f"{url}/api/v1/rules", timeout=30).json()["data"]["groups"],
            lambda groups: all(rule["health"] == "ok" for rule in groups[0]["rules"]),
        )
        assert set(found) == {rule["alert"] for rule in rules(deploy)}


def at_least_two(result: list[dict[str, Any]]) -> bool:
    return bool(result) and float(result[0]["value"][1]) >= 2


def ask(url: str, query: str) -> list[dict[str, Any]]:
    answer = requests.post(f"{url}/api/v1/query", data={"query": query}, timeout=30).json()
    assert answer["status"] == "success", answer
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


@contextmanager
def prometheus(program: str, deploy: Path, service: str, folder: Path) -> Iterator[str]:
    """Prometheus by our files, which looks at `service` each second."""
    config = yaml.safe_load((deploy / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = dict.fromkeys(config["global"], "1s")
    ours = config["scrape_configs"][0]["static_configs"][0]
    assert ours["targets"] == ["service:8190"]
    ours["targets"] = [service.removeprefix("http://")]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "alerts.yml").write_bytes((deploy / "alerts.yml").read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: process.poll() is not None or is_ready(url), bool, 60.0)
        assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=5).ok
    except requests.ConnectionError:
        return False
