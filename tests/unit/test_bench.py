"""What `spriteworks bench` compares, keeps and says; servers are fakes here."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfy_nodes.settings import LoaderSettings
from orchestrator.bench import plot, report
from orchestrator.bench.bench import BenchRequest, bench
from orchestrator.bench.measuring import Spread, Steps
from orchestrator.bench.pictures import difference
from orchestrator.bench.record import BENCH_FILE, BenchRecord, BenchRow, CaseStatus
from orchestrator.bench.variants import (
    AGAIN,
    BASELINE,
    Case,
    OfferedSettings,
    Variant,
    asked,
    automatic,
    cases,
    one_at_a_time,
    parse,
    plain,
)
from orchestrator.client.client import Client
from orchestrator.client.wire import Timeouts
from orchestrator.errors import (
    BadValue,
    GraphError,
    JobError,
    ServerLost,
    UnknownParameter,
    UsageError,
)
from orchestrator.protocol import StepProgress
from orchestrator.testing import OBJECT_INFO, FakeServer, Script
from orchestrator.workflow.catalogue import Catalogue


def node_class(name: str, inputs: dict[str, Any], outputs: list[str]) -> dict[str, Any]:
    return {
        **OBJECT_INFO["EmptyImage"],
        "input": {"required": inputs},
        "input_order": {"required": list(inputs)},
        "output": outputs,
        "output_is_list": [False] * len(outputs),
        "output_name": outputs,
        "name": name,
        "display_name": name,
    }


LOADER = node_class(
    "SpriteworksCheckpointLoader",
    {
        "ckpt_name": [["model.safetensors"]],
        "precision": [["auto", "fp32", "fp16", "bf16"], {"default": "auto"}],
        "vae_tiling": [["auto", "off", "on"], {"default": "auto"}],
        "step_cache": ["FLOAT", {"default": 0.0, "min": 0.0, "max": 1.0}],
        "vae_tile": ["INT", {"default": 512, "min": 128, "max": 4096, "step": 64}],
        "strict": ["BOOLEAN", {"default": False}],
    },
    ["MODEL", "CLIP", "VAE"],
)
SAMPLER = node_class(
    "KSampler",
    {
        "model": ["MODEL"],
        "latent_image": ["LATENT"],
        "seed": ["INT", {"default": 0, "min": 0, "max": 2**64 - 1}],
    },
    ["IMAGE"],
)
LATENT = node_class(
    "EmptyLatentImage",
    {"batch_size": ["INT", {"default": 1, "min": 1, "max": 64}]},
    ["LATENT"],
)
INFO: dict[str, Any] = {
    **OBJECT_INFO,
    "SpriteworksCheckpointLoader": LOADER,
    "KSampler": SAMPLER,
    "EmptyLatentImage": LATENT,
}
GRAPH = {
    "1": {
        "class_type": "SpriteworksCheckpointLoader",
        "inputs": {
            "ckpt_name": "model.safetensors",
            "precision": "auto",
            "vae_tiling": "auto",
            "step_cache": 0.0,
            "vae_tile": 512,
            "strict": False,
        },
    },
    "2": {"class_type": "EmptyLatentImage", "inputs": {"batch_size": 1}},
    "3": {
        "class_type": "KSampler",
        "inputs": {"model": ["1", 0], "latent_image": ["2", 0], "seed": 5},
    },
    "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "b"}},
}


@pytest.fixture
def offered() -> OfferedSettings:
    return OfferedSettings.of(GRAPH, Catalogue(INFO), "my.json")


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer(object_info=INFO) as server:
        yield server


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    path = tmp_path / "my.json"
    path.write_text(json.dumps(GRAPH), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.bench.bench._SETTLE", 0.0)


class Silent:
    """Notes how the cases went."""

    def __init__(self) -> None:
        self.rows: list[BenchRow] = []
        self.done = 0

    def planned(self, rows: Sequence[Case], done: int) -> None:
        self.done = done

    def began(self, case: Case) -> None: ...

    def ran(self, case: Case, seconds: float) -> None: ...

    def ended(self, case: Case, row: BenchRow, baseline: BenchRow | None) -> None:
        self.rows.append(row)


def measure(fake: FakeServer, request: BenchRequest, observer: Silent | None = None) -> BenchRecord:
    with Client(fake.url) as client:
        return bench(request, client, observer or Silent())


# ------------------------------------------------------------------------------ variants


def test_the_baseline_is_what_a_server_does_by_itself(offered: OfferedSettings) -> None:
    on_cpu = plain(offered, "cpu")
    assert on_cpu == {
        "precision": "fp32",
        "vae_tiling": "off",
        "step_cache": 0.0,
        "vae_tile": 512,
        "strict": False,
    }
    assert plain(offered, "cuda")["precision"] == "fp16"


def test_every_choice_is_tried_alone_and_what_the_baseline_has_is_not(
    offered: OfferedSettings,
) -> None:
    found = one_at_a_time(offered, plain(offered, "cpu"))
    assert [one.name for one in found] == [
        "precision=fp16",
        "precision=bf16",
        "vae_tiling=on",
        "step_cache=0.1",
    ]
    assert all(len(one.changes) == 1 and one.strict for one in found)


def test_auto_leaves_everything_to_the_device(offered: OfferedSettings) -> None:
    auto = automatic(offered, plain(offered, "cpu"))
    assert auto.changes == {"precision": "auto", "vae_tiling": "auto"}
    assert not auto.strict


def test_what_is_asked_for_is_a_setting_or_some_together(offered: OfferedSettings) -> None:
    found = asked(offered, plain(offered, "cpu"), ["precision", "precision=bf16,vae_tiling=on"])
    assert [one.name for one in found] == [
        "precision=fp16",
        "precision=bf16",
        "precision=bf16,vae_tiling=on",
    ]
    assert found[-1].changes == {"precision": "bf16", "vae_tiling": "on"}


@pytest.mark.parametrize(
    ("text", "error", "part"),
    [
        ("presicion", UnknownParameter, "precision"),
        ("presicion=fp16", UnknownParameter, "precision"),
        ("precision=fp12", BadValue, "fp16"),
        ("step_cache=lots", BadValue, "not a number"),
        ("step_cache=3", BadValue, "step_cache=3"),
        ("vae_tile", BadValue, "vae_tile=512"),
        ("precision=fp16,vae_tiling", UnknownParameter, "NAME=VALUE"),
    ],
)
def test_a_mistake_in_what_is_asked_for_is_named(
    offered: OfferedSettings, text: str, error: type[Exception], part: str
) -> None:
    with pytest.raises(error, match=part):
        asked(offered, plain(offered, "cpu"), [text])


def test_values_have_the_types_of_their_inputs(offered: OfferedSettings) -> None:
    assert parse(offered, "step_cache=0.2, strict=yes") == {"step_cache": 0.2, "strict": True}


def test_settings_go_to_every_node_that_has_them_and_to_no_other(offered: OfferedSettings) -> None:
    changed = offered.set(GRAPH, {"precision": "bf16", "seed": 9})
    assert changed["1"]["inputs"]["precision"] == "bf16"
    assert changed["3"] == GRAPH["3"]
    assert GRAPH["1"]["inputs"]["precision"] == "auto"


def test_a_workflow_without_our_loader_is_refused_with_what_to_do() -> None:
    graph = {key: node for key, node in GRAPH.items() if key != "1"}
    with pytest.raises(GraphError, match=r"my\.json has no Spriteworks loader.*Load Checkpoint"):
        OfferedSettings.of(graph, Catalogue(INFO), "my.json")


def test_every_setting_that_there_is_can_be_told_apart() -> None:
    # A new setting needs a value for the baseline, or `auto` must be its default.
    fields = LoaderSettings.model_fields
    inputs = {
        name: [["auto"], {}] if hasattr(field.default, "value") else ["FLOAT", {"default": 0}]
        for name, field in fields.items()
    }
    info = {"SpriteworksAll": node_class("SpriteworksAll", inputs, ["MODEL"])}
    graph = {"1": {"class_type": "SpriteworksAll", "inputs": {}}}
    offered = OfferedSettings.of(graph, Catalogue(info), "x")
    values = plain(offered, "cuda")
    assert set(values) == set(fields)
    LoaderSettings.model_validate(values)


def test_baseline_and_auto_run_at_every_size_and_the_baseline_once_more() -> None:
    one = Variant(name="precision=bf16")
    rows = cases([one], Variant(name=BASELINE), Variant(name="auto"), [1, 4])
    assert [(row.variant.name, row.batch_size) for row in rows] == [
        (BASELINE, 1),
        ("auto", 1),
        ("precision=bf16", 1),
        (BASELINE, 4),
        ("auto", 4),
        (AGAIN, 1),
    ]


# ----------------------------------------------------------------------------- measuring


def test_all_cases_are_measured_each_with_seeds_of_its_own(
    fake: FakeServer, workflow: Path, tmp_path: Path
) -> None:
    request = BenchRequest(workflow=workflow, out=tmp_path / "out", sizes=(1, 2), repeats=2)
    record = measure(fake, request)
    assert [row.status for row in record.rows] == [CaseStatus.MEASURED] * 9
    seed = record.header["seed"]
    seeds = [job.graph["3"]["inputs"]["seed"] for job in fake.submissions]
    # The very first case has one run more.
    assert seeds[:4] == [(seed - 1) % 2**31, (seed - 2) % 2**31, seed, (seed + 1) % 2**31]
    assert seeds[4:7] == [(seed - 1) % 2**31, seed, (seed + 1) % 2**31]
    assert len(fake.freed) == 9
    strict = [job.graph["1"]["inputs"]["strict"] for job in fake.submissions]
    assert strict[:7] == [False] * 7
    assert strict[7] is True
    assert fake.submissions[-4].graph["2"]["inputs"]["batch_size"] == 2
    text = json.loads((tmp_path / "out" / BENCH_FILE).read_text(encoding="utf-8"))
    assert [BenchRow.from_json(row) for row in text["rows"]] == record.rows
    assert record.rows[1].difference is not None


def test_a_measurement_that_was_ended_goes_on(
    fake: FakeServer, workflow: Path, tmp_path: Path
) -> None:
    request = BenchRequest(workflow=workflow, out=tmp_path / "out", sizes=(1,), repeats=1)
    whole = measure(fake, request)
    kept = BenchRecord(tmp_path / "out", whole.header, whole.rows[:2])
    kept.write()
    sent = len(fake.submissions)
    observer = Silent()
    again = measure(fake, request, observer)
    assert observer.done == 2
    assert again.rows[:2] == kept.rows
    assert again.header["seed"] == whole.header["seed"]
    assert len(fake.submissions) - sent == 2 * (len(again.rows) - 2)
    assert measure(fake, request).rows == again.rows


def test_another_measurement_in_the_folder_is_left_alone(
    fake: FakeServer, workflow: Path, tmp_path: Path
) -> None:
    request = BenchRequest(
        workflow=workflow, out=tmp_path / "out", tries=("precision",), sizes=(1,)
    )
    measure(fake, request)
    other = BenchRequest(workflow=workflow, out=tmp_path / "out", repeats=9)
    with pytest.raises(UsageError, match=r"another measurement \(repeats differ\)"):
        measure(fake, other)
    (tmp_path / "out" / BENCH_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="no record"):
        measure(fake, request)


def failing(kind: str, message: str) -> Script:
    return Script(fail_in="1", fail_as=(kind, message))


def test_a_setting_that_the_machine_cannot_run_has_its_reason_in_its_row(
    fake: FakeServer, workflow: Path, tmp_path: Path
) -> None:
    # Cases: baseline (3 runs with the extra one), auto (2), then those that fail.
    for _ in range(5):
        fake.script(Script())
    fake.script(failing("pack.errors.UnsupportedSetting", "fp16 is not for this CPU"))
    fake.script(failing("torch.OutOfMemoryError", "out of memory"))
    request = BenchRequest(
        workflow=workflow, out=tmp_path / "out", tries=("precision",), sizes=(1,), repeats=1
    )
    record = measure(fake, request)
    refused, full = record.rows[2:4]
    assert (refused.status, refused.reason) == (CaseStatus.UNSUPPORTED, "fp16 is not for this CPU")
    assert full.status is CaseStatus.OUT_OF_MEMORY
    assert record.rows[4].status is CaseStatus.MEASURED
    text = report.markdown(record, "spriteworks bench")
    assert "- precision=fp16: fp16 is not for this CPU" in text
    assert "| precision=bf16 | 1 | – | out of memory |" in text


def test_a_baseline_that_does_not_run_ends_it_with_what_to_do(
    fake: FakeServer, workflow: Path, tmp_path: Path
) -> None:
    fake.script(failing("torch.OutOfMemoryError", "out of memory"))
    with pytest.raises(JobError, match=r"baseline itself does not run.*--baseline"):
        measure(fake, BenchRequest(workflow=workflow, out=tmp_path / "out"))


def test_a_setting_that_ends_the_server_is_not_tried_again(
    fake: FakeServer, workflow: Path, tmp_path: Path
) -> None:
    for _ in range(5):
        fake.script(Script())
    fake.script(Script(die_in="3"))
    request = BenchRequest(
        workflow=workflow, out=tmp_path / "out", tries=("precision",), sizes=(1,), repeats=1
    )
    quick = Timeouts(poll=0.05, lost_after=0.1, tries=1)
    with Client(fake.url, timeouts=quick) as client, pytest.raises(ServerLost):
        bench(request, client, Silent())
    with FakeServer(object_info=INFO) as another:
        record = measure(another, request)
    assert [row.status for row in record.rows] == [
        CaseStatus.MEASURED,
        CaseStatus.MEASURED,
        CaseStatus.FAILED,
        CaseStatus.MEASURED,
        CaseStatus.MEASURED,
    ]
    assert record.rows[2].name == "precision=fp16"


def test_a_workflow_without_a_seed_is_refused(fake: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "still.json"
    graph = {key: GRAPH[key] for key in ("1", "4")}
    graph["3"] = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1}}
    graph["3"]["inputs"]["color"] = 0
    path.write_text(json.dumps(graph), encoding="utf-8")
    with pytest.raises(UsageError, match="no seed to change"):
        measure(fake, BenchRequest(workflow=path, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_busy_server_is_not_measured(fake: FakeServer, workflow: Path, tmp_path: Path) -> None:
    import threading

    hold = threading.Event()
    fake.script(Script(gates={"3": hold}))
    with Client(fake.url) as other:
        job = other.submit(GRAPH)
        fake.reached("3")
        with pytest.raises(UsageError, match="1 other jobs"):
            measure(fake, BenchRequest(workflow=workflow, out=tmp_path / "out"))
        hold.set()
        other.wait(job.prompt_id)


# ------------------------------------------------------------------------------- figures


def png(colour: tuple[int, int, int], size: int = 4) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(stream, "PNG")
    return stream.getvalue()


def test_the_difference_is_that_of_the_worst_pair() -> None:
    grey, near, far = png((100, 100, 100)), png((101, 101, 101)), png((110, 110, 110))
    same = difference([grey], [grey])
    assert same is not None
    assert (same.db, same.largest) == (None, 0)
    found = difference([grey, grey, grey], [grey, near, far])
    assert found is not None
    # 20 log10(255 / 10)
    assert found.to_json() == {"db": 28.13, "largest": 10}
    assert difference([grey], []) is None
    assert difference([grey], [png((1, 1, 1), 8)]) is None


def test_steps_are_those_of_the_samplers_alone() -> None:
    steps = Steps()
    for node, value in (("3", 1), ("3", 2), ("9", 7)):
        steps.observe(
            StepProgress(prompt_id="", node=node, value=value, max=20 if node == "3" else 7)
        )
    assert steps.of(["3"]) == 20


def row(name: str, seconds: Sequence[float], **more: Any) -> BenchRow:
    values = {"pictures": 1, "first_s": 9.0, "images_per_minute": 60.0, "iterations_per_s": 2.0}
    spread = Spread.of(list(seconds)).to_json()
    return BenchRow(name=name, batch_size=1, seconds=spread, **{**values, **more})


def test_report_and_plot_say_the_figures(tmp_path: Path) -> None:
    header = {
        "spriteworks": "1",
        "server": {"kind": "comfyui", "version": "0.3.64", "device": "cuda:0 Fake"},
        "workflow": {"file": "my.json"},
        "baseline": {"precision": "fp16"},
        "repeats": 3,
    }
    peak = {"peak": {"device": 3 << 30, "process": 1 << 30, "system": None}}
    rows = [
        row(BASELINE, [2.0, 2.2, 2.1], memory=peak),
        row("compile=blocks", [1.0, 1.1, 0.9], difference={"db": 61.5, "largest": 2}),
        BenchRow(
            name="attention=sage", batch_size=1, status=CaseStatus.UNSUPPORTED, reason="no Ampere"
        ),
        row(AGAIN, [1.9, 2.1, 2.0]),
    ]
    record = BenchRecord(tmp_path, header, rows)
    text = report.markdown(record, "spriteworks bench my.json")
    assert "ComfyUI 0.3.64, on cuda:0 Fake" in text
    assert "| compile=blocks | 1 | 9.00 | 1.000 (0.900 to 1.100) |" in text
    assert "2.05 times" in text
    assert "61.5 dB, at most 2 of 255" in text
    assert "3.00 GiB (device)" in text
    assert "1.05 times as fast as at the beginning" in text
    assert len({len(line) > 0 for line in report.table(record).splitlines()}) == 1
    plot.draw(record, tmp_path / "bench.png")
    with Image.open(tmp_path / "bench.png") as image:
        assert image.width == 1280
        height = image.height
    plot.draw(BenchRecord(tmp_path, header, []), tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    assert report.drift_words(record) is None
    rows[-1] = row(AGAIN, [4.0, 4.2, 4.1])
    slower = BenchRecord(tmp_path, header, rows)
    assert "1.95 times as slow at the end" in (report.drift_words(slower) or "")
    plot.draw(slower, tmp_path / "slower.png")
    with Image.open(tmp_path / "slower.png") as image:
        assert image.height > height
