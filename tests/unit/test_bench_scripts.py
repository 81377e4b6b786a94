"""The benchmarks of whole servers: their graphs, their counts of arithmetic, their tables."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY))

from orchestrator.workflow.catalogue import Catalogue  # noqa: E402
from orchestrator.workflow.checking import validate  # noqa: E402
from scripts import bench_cpu, bench_gpu, bench_orchestrators  # noqa: E402
from scripts.bench import flops  # noqa: E402
from scripts.bench.contestants import Contestant, ContestantJob, ContestantRun, graph_of  # noqa: E402
from scripts.bench.rows import ContestantRow, ResultsFile, measured  # noqa: E402

INFO: dict[str, Any] = json.loads(
    (REPOSITORY / "tests" / "data" / "canvas" / "object_info.json").read_text(encoding="utf-8")
)
JOB = ContestantJob(checkpoint="m.safetensors", size=512, steps=20)


@pytest.mark.parametrize("settings", [None, {}, {"precision": "fp32"}])
def test_the_graph_is_valid_on_comfyui(settings: dict[str, Any] | None) -> None:
    graph = graph_of(JOB, settings)
    info = {name: json.loads(json.dumps(INFO[name])) for name in INFO}
    for name in ("CheckpointLoaderSimple", "SpriteworksCheckpointLoader"):
        info[name]["input"]["required"]["ckpt_name"] = [["m.safetensors"]]
    assert validate(graph, Catalogue(info)) == []


def test_attention_and_products_are_counted_once() -> None:
    side, heads, width = 64, 2, 8
    tokens = torch.empty(1, heads, side, width, device="meta")

    def run() -> None:
        torch.nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
        torch.empty(3, 5, device="meta") @ torch.empty(5, 7, device="meta")

    # Two products of side x side x width a head, 2 operations for each multiplication and sum.
    expected = 2 * 2 * heads * side * side * width + 2 * 3 * 5 * 7
    assert flops._count(run) * 1e12 == expected


def test_the_published_unet_of_sd15_takes_0_8_tflop() -> None:
    make = runpy.run_path(str(REPOSITORY / "tests" / "contract" / "random_models.py"))
    with torch.device("meta"):
        unet = make["make_unet"](make["SHAPES"]["sd15"], torch.float32, full=True)
    assert flops._count_unet(unet, 512) == pytest.approx(0.8033, abs=1e-4)


class Timed:
    """A contestant whose runs take what the test says."""

    about = "test"

    def __init__(self, *seconds: float) -> None:
        self.left = list(seconds)
        self.jobs: list[ContestantJob] = []

    def run(self, job: ContestantJob) -> ContestantRun:
        self.jobs.append(job)
        second = self.left.pop(0)
        return ContestantRun(
            seconds=second, sampling=second / 2, decoding=None, device=job.batch << 30, process=7
        )

    def free(self) -> None: ...


def contestant(name: str = "ComfyUI") -> Contestant:
    return Contestant(name=name, kind="comfyui")


def test_the_first_run_stands_apart_and_has_another_seed() -> None:
    session = Timed(9.0, 3.0, 1.0, 2.0)
    row, _ = measured(contestant(), session, JOB, 3)
    assert (row.first_s, row.seconds, row.median) == (9.0, (3.0, 1.0, 2.0), 2.0)
    assert (row.sampling_s, row.rate, row.device) == (1.0, 30.0, 1 << 30)
    assert [(job.seed, job.steps) for job in session.jobs] == [
        (10_001, 2),
        (1, 20),
        (2, 20),
        (3, 20),
    ]


def test_without_time_one_run_is_enough() -> None:
    row, _ = measured(contestant(), Timed(9.0, 3.0, 1.0), JOB, 3, until=0.0)
    assert row.seconds == (3.0,)


def row(name: str, seconds: float, *, batch: int = 1, model: str = "sdxl") -> ContestantRow:
    return ContestantRow(
        contestant=name,
        about="",
        checkpoint=f"{model}-random.safetensors",
        size=1024,
        steps=20,
        batch=batch,
        first_s=9.0,
        seconds=(seconds, 1.1 * seconds, 0.9 * seconds),
        sampling_s=None,
        decoding_s=None,
        device=8 << 30,
        process=1 << 30,
    )


def test_the_gpu_s_tables_say_shares_ratios_and_targets(tmp_path: Path) -> None:
    facts = {
        "card": "Test",
        "processor": "P",
        "torch": "2",
        "commit": "abc",
        "matmul_tflops": 500.0,
        "tflop": {
            "sdxl-random.safetensors": {"unet_pass": 6.0, "vae_decode": 10.0, "picture": 250.0}
        },
    }
    results = ResultsFile(tmp_path / "gpu.json", facts)
    for one in (
        row("ComfyUI", 2.0),
        row("ComfyUI with our nodes, auto", 1.0),
        row("engine, auto", 5.0, batch=8),
        row("ComfyUI", 0.4, model="sd15"),
    ):
        results.add(one)
    text = bench_gpu.report(results)
    ours = "| ComfyUI with our nodes, auto | 1 | 1.000 (0.900 to 1.100) | 60.0 | 8.00 GiB |"
    assert f"{ours} 50 % | 2.00 times |" in text
    assert "| engine, auto | 8 | 5.000 (4.500 to 5.500) | 96.0 | 8.00 GiB | 80 % | – |" in text
    assert "- SDXL, batch of 8: 5.000 s (target 15 s)" in text
    assert "- SD 1.5: at most 8.6 GB (target 8 GB)" in text
    assert "so 0.5 s at the least" in text
    kept = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert [entry["median_s"] for entry in kept["rows"]] == [2.0, 1.0, 5.0, 0.4]


def test_the_cpu_s_report_says_the_ratios_over_all_rounds(tmp_path: Path) -> None:
    names = [bench_cpu.STOCK, bench_cpu.OURS, bench_cpu.AUTO, bench_cpu.DIFFUSERS]
    seconds = dict(zip(names, (16.0, 8.0, 4.0, 10.0), strict=True))
    rows = [row(name, seconds[name] * factor) for factor in (1.0, 1.0) for name in names]
    chosen = [one for one in bench_cpu.CONTESTANTS if one.name in names]
    text = bench_cpu.report(rows, tmp_path, chosen)
    assert "| ComfyUI | 16.00 (14.40 to 17.60) |" in text
    assert f"- {bench_cpu.OURS} is 2.00 times as fast as ComfyUI" in text
    assert f"- {bench_cpu.AUTO} is 4.00 times as fast as ComfyUI" in text
    assert f"- {bench_cpu.AUTO} is 2.50 times as fast as diffusers, fp32" in text


def test_a_run_on_the_cpu_that_was_ended_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "cpu.json"
    first = ResultsFile(path, {})
    first.add(row("ComfyUI", 2.0))
    job = ContestantJob(checkpoint="sdxl-random.safetensors", size=1024, steps=20)
    assert bench_cpu._opened(path, {}, job).rows == first.rows
    with pytest.raises(SystemExit, match="another job"):
        bench_cpu._opened(path, {}, JOB)


def test_workers_are_told_by_the_medians_of_rounds_and_the_least_share_of_linear() -> None:
    def stage(rate: float, linear: float, most: int) -> dict[str, Any]:
        cpu = {"service_cpu_s_per_job": 0.01 * rate, "workers_cpu_s_per_job": 0.02}
        counts = {"workers": 2, "fewest_and_most": [29, most]}
        return {**counts, "jobs_per_s": rate, "linear": linear, **cpu}

    rounds = [[stage(1.8, 0.97, 30)], [stage(2.0, 0.96, 31)], [stage(1.9, 0.99, 30)]]
    (middle,) = bench_orchestrators._middle(rounds)
    assert (middle["workers"], middle["jobs_per_s"], middle["linear"]) == (2, 1.9, 0.97)
    assert (middle["least_linear"], middle["fewest_and_most"]) == (0.96, [29, 31])
    told = bench_orchestrators._table([middle]).splitlines()[-1]
    assert told == "| 2 | 1.900 | 0.970 | 0.960 | 20 ms | 19 ms |"
