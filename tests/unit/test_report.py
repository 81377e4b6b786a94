"""The report of a real batch folder: what is in it, and that nothing from outside gets loose."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.batch import production as batch
from orchestrator.batch.execution.store import kept_plan
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import Job, State
from orchestrator.batch.reporting.report import page as report
from orchestrator.batch.reporting.report.captions import Captions
from orchestrator.batch.reporting.report.data import embedded
from orchestrator.batch.reporting.report.titles import titles
from orchestrator.cli import app
from orchestrator.errors import OutputError, StoreError
from orchestrator.testing import FakeServer
from orchestrator.workflow.catalogue import Catalogue


@pytest.fixture(scope="module")
def batches(repository: Path) -> Any:
    path = repository / "tests" / "data" / "batch_folder.py"
    spec = importlib.util.spec_from_file_location("batch_folder", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, batches: Any) -> Path:
    made: Path = tmp_path_factory.mktemp("batch") / "out"
    batches.make(made)
    return made


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return report.write(folder).read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Collects all tags with their attributes, and the texts by tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open[-1:] not in (["script"], ["style"]):
            self.text += f"{data} "

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def elements(page: str) -> Elements:
    return Elements(page)


@pytest.fixture(scope="module")
def data(page: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert match
    return json.loads(match.group(1))  # type: ignore[no-any-return]


def test_the_overview_and_the_failures_need_no_script(elements: Elements, batches: Any) -> None:
    text = " ".join(elements.text.split())
    for words in (
        "potions & <gems>",
        "pictures done 27 of 30",
        "failed 1",
        "quarantined 1",
        "pending 1",
        "KSampler",
        *batches.SERVERS,
        batches.REASON,
        "two servers died",
        "steps 20",
    ):
        assert words in text


def test_nothing_from_outside_becomes_an_element(
    elements: Elements, page: str, batches: Any
) -> None:
    assert len(elements.of("script")) == 2
    assert not [attributes for _, attributes in elements.tags if "onerror" in attributes]
    assert batches.EVIL not in page
    assert {attributes.get("src") for attributes in elements.of("img")}.isdisjoint({"x"})


def test_the_page_may_load_nothing_but_pictures(elements: Elements, page: str) -> None:
    (policy,) = [
        meta["content"]
        for meta in elements.of("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src 'self' file: data:;")
    assert re.search(r"script-src 'sha256-[\w+/]{43}='", policy)
    assert "http" not in "".join(
        value or ""
        for _, attributes in elements.tags
        for name, value in attributes.items()
        if name in ("src", "href")
    )


def test_pictures_are_relative_links_that_lead_to_files(elements: Elements, folder: Path) -> None:
    from urllib.parse import unquote

    images = elements.of("img")
    assert len(images) == 27
    for image in images:
        source = image["src"]
        assert source is not None
        assert (folder / unquote(source)).is_file()
        assert image["alt"]
        assert image["loading"] == "lazy"
    assert any("%23" in (image["src"] or "") for image in images)


def test_the_data_has_each_job_with_its_attempts(data: dict[str, Any], batches: Any) -> None:
    assert len(data["pictures"]) == 30
    first = data["pictures"][0]
    assert first[3] == str(2**64 - 1)
    assert data["shared"] == {"steps": 20}
    assert data["parameters"] == ["cfg", "prompt"]
    assert batches.EVIL in first[4][1]
    (attempt,) = first[6]
    spans = data["attempts"][attempt][8]
    named = dict(zip((data["words"][n] for n in spans[::2]), spans[1::2], strict=True))
    assert named["run"] == 2000
    assert named["KSampler (6)"] == 1600


def test_nodes_have_their_titles(tmp_path: Path, repository: Path, batches: Any) -> None:
    """Nobody who draws knows what KSamplerAdvanced or a class of another pack is."""
    batches.make(tmp_path, 6)
    info = json.loads((repository / "tests/data/comfyui/object_info.json").read_text("utf-8"))
    kept_plan.keep(tmp_path, tmp_path / "x.yaml", Catalogue(info))
    sampler = {"class_type": "KSampler", "inputs": {}, "_meta": {"title": "Draw the sprite"}}
    load = {"class_type": "CheckpointLoaderSimple", "inputs": {}}
    workflow = tmp_path / "workflow.json"
    workflow.write_text(json.dumps({"6": sampler, "1": load, "2": load}), encoding="utf-8")
    found = titles(tmp_path, workflow, ["SaveImage", "OfNobody"])
    assert found.span("node:6", "KSampler") == "Draw the sprite"
    assert found.span("node:6.0.3", "KSampler") == "Draw the sprite"
    assert found.span("node:1", "CheckpointLoaderSimple") == "Load Checkpoint (1)"
    assert found.span("node:9", "SaveImage") == "Save Image (9)"
    assert found.span("run", "") == "run"
    assert found.parameter("6.steps") == "Draw the sprite: steps"
    assert found.parameter("prompt") == "prompt"
    assert found.parameter("9.steps") == "9.steps"
    assert found.by_class({"SaveImage": 1, "OfNobody": 2}) == {"Save Image": 1, "OfNobody": 2}
    with Store.open(tmp_path) as store:
        store.set_fact("workflow", str(workflow))
    text = report.write(tmp_path).read_text(encoding="utf-8")
    assert "Load Checkpoint" in text
    assert "CheckpointLoaderSimple" not in text


def test_a_workflow_that_is_gone_leaves_the_names_of_classes(
    tmp_path: Path, repository: Path
) -> None:
    assert titles(tmp_path, tmp_path / "gone.json", ["KSampler"]).span("node:6", "KSampler") == (
        "KSampler (6)"
    )
    info = json.loads((repository / "tests/data/comfyui/object_info.json").read_text("utf-8"))
    kept_plan.keep(tmp_path, tmp_path / "x.yaml", Catalogue(info))
    found = titles(tmp_path, tmp_path / "gone.json", ["SaveImage"])
    assert found.span("node:6", "SaveImage") == "Save Image (6)"


def test_captions_leave_out_what_all_prompts_share() -> None:
    tail = ", pixel art, game sprite, plain white background"
    for prompts, captions in (
        ([f"a red potion{tail}", f"a blue potion{tail}"], ["a red potion", "a blue potion"]),
        (["sprite of a brave hero, a red cap", "sprite of a brave hero, bald"], ["… a red cap"]),
        (["a red potion", "a blue potion"], ["a red potion"]),
        ([f"a red potion{tail}"] * 2, [f"a red potion{tail}"]),
        ([tail, f"a{tail}", ""], [tail]),
        ([], []),
    ):
        found = Captions.of(prompts)
        assert [found.of_prompt(one) for one in prompts][: len(captions)] == captions


def test_what_goes_into_a_script_cannot_end_it() -> None:
    text = "</script><!--\u2028&\u2029"
    assert not set("<>&\u2028\u2029") & set(embedded({"a": text}))
    assert json.loads(embedded({"a": text})) == {"a": text}


def test_equal_reasons_stand_together(tmp_path: Path, batches: Any) -> None:
    jobs = batches.make(tmp_path, 12)
    with Store.open(tmp_path) as store:
        store.move([jobs[-1].key], State.FAILED, reason=batches.REASON)
        found = report.failures(report.read(store, tmp_path).pictures)
    assert found[0] == ("failed", batches.REASON, [jobs[-3].name, jobs[-1].name])
    assert found[1][0] == "quarantined"


def test_a_batch_before_its_first_picture_has_a_report(tmp_path: Path) -> None:
    one = Job(key="0" * 64, name="a", item_id="a", parameters={}, seed=None)
    with Store.open(tmp_path) as store:
        store.plan([one])
    assert "Nothing has been sent yet" in report.write(tmp_path).read_text(encoding="utf-8")


def test_an_empty_batch_has_a_report(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    assert "0 <small>of 0</small>" in report.write(tmp_path).read_text(encoding="utf-8")


def test_pictures_that_are_no_longer_wanted_are_shown(tmp_path: Path, batches: Any) -> None:
    jobs = batches.make(tmp_path, 9)
    with Store.open(tmp_path) as store:
        store.plan(jobs[3:])
        text = report.render(report.read(store, tmp_path))
    assert "3 pictures are no longer wanted; their files stay" in " ".join(text.split())
    assert "unwanted" in text


def test_no_folder_is_no_batch(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no batch"):
        report.write(tmp_path / "nowhere")


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, batches: Any) -> None:
    batches.make(tmp_path, 6)
    report.write(tmp_path)
    (tmp_path / f".{report.FILE_NAME}.part").mkdir()
    with pytest.raises(OutputError, match=r"report\.html cannot be written"):
        report.write(tmp_path)
    assert (tmp_path / report.FILE_NAME).stat().st_size > 1000


def test_status_has_percentiles_and_idle_shares(folder: Path, batches: Any) -> None:
    timings = batch.status(folder)["timings"]
    assert timings["servers"][batches.SERVERS[0]]["spans"]["run"]["p99"] == 2.0
    assert timings["servers"][batches.SERVERS[1]]["nodes"]["KSampler"]["p50"] == 3.2
    assert timings["idle_share"] == pytest.approx(0.1 * 27 / (0.1 * 27 + 54 + 18), rel=0.1)
    assert timings["spans"]["load"]["count"] == 2


def test_the_command_writes_page_and_sheet(folder: Path) -> None:
    result = CliRunner().invoke(app, ["batch", "report", str(folder), "--contact"])
    assert result.exit_code == 0, result.output
    assert result.output.split() == [str(folder / "report.html"), str(folder / "contact.png")]


def test_a_run_ends_with_its_report(tmp_path: Path) -> None:
    size = {"width": 8, "height": 8, "batch_size": 1, "color": 0}
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": size},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    (tmp_path / "graph.json").write_text(json.dumps(graph), encoding="utf-8")
    manifest = {
        "name": "dots",
        "workflow": "graph.json",
        "items": [{"id": f"dot-{n}", "set": {"1.color": n}, "output": "{id}"} for n in range(4)],
    }
    (tmp_path / "dots.yaml").write_text(json.dumps(manifest), encoding="utf-8")
    out = tmp_path / "out"
    arguments = ["batch", "run", str(tmp_path / "dots.yaml"), "--out", str(out)]
    with FakeServer() as fake:
        result = CliRunner().invoke(app, [*arguments, "--server", fake.url])
    assert result.exit_code == 0, result.output
    found = Elements((out / "report.html").read_text(encoding="utf-8"))
    assert [image["src"] for image in found.of("img")] == [f"dot-{n}.png" for n in range(4)]
    timings = batch.status(out)["timings"]
    assert timings["pictures"] == 4
    assert timings["spans"].keys() >= {"queued", "run", "transfer", "store"}


def test_the_command_opens_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    launch: Callable[[str], None] = opened.append
    monkeypatch.setattr("typer.launch", launch)
    CliRunner().invoke(app, ["batch", "report", str(folder), "--open"])
    assert opened == [(folder / "report.html").resolve().as_uri()]


def chapter(repository: Path) -> str:
    text = (repository / "docs" / "batch.md").read_text(encoding="utf-8")
    match = re.search(r"^## Report\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert match
    return match.group(1)


def test_the_commands_of_the_documentation_exist(
    repository: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.launch", lambda url: None)
    (block,) = re.findall(r"^```\n(.*?)```", chapter(repository), re.DOTALL | re.MULTILINE)
    for line in block.splitlines():
        program, *arguments = line.replace("potions", str(folder)).split()
        assert program == "spriteworks"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output


def test_the_python_of_the_documentation_runs(
    repository: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", chapter(repository), re.DOTALL)
    exec(compile(code.replace('"potions"', repr(str(folder))), "docs/batch.md", "exec"), {})
    assert "http://gpu-b:8188" in capsys.readouterr().out


def test_every_figure_is_documented(repository: Path, folder: Path) -> None:
    text = chapter(repository)
    timings = batch.status(folder)["timings"]
    for name in (*timings, *timings["spans"], *timings["spans"]["run"]):
        assert f"`{name}`" in text
