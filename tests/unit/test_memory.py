"""Memory of the process that a node runs in: snapshots, differences, peaks, the report."""

from __future__ import annotations

import mmap

import pytest
import torch

from comfy_nodes import memory
from orchestrator.engine import host

host.install()
from comfy_nodes.memory_report import MemoryReport, in_words, measure  # noqa: E402

BIG = 64 << 20


def block(size: int = BIG) -> torch.Tensor:
    # Memory of its own: torch's may be what earlier tests gave back and the process kept. Written,
    # or the system gives none.
    return torch.frombuffer(mmap.mmap(-1, size), dtype=torch.uint8).fill_(1)


def test_a_snapshot_sees_what_is_allocated_and_given_back() -> None:
    before = memory.snapshot("cpu")
    held = block()
    change = memory.snapshot("cpu") - before
    assert BIG * 0.9 < change.process < BIG * 2
    assert change.allocated == change.process
    assert before.process < before.system_total
    del held
    assert (memory.snapshot("cpu") - before).process < BIG / 2


def test_a_peak_is_of_its_block_only_and_outlives_what_made_it() -> None:
    start = memory.snapshot("cpu").process
    with memory.peak("cpu") as outer:
        held = block()
        with memory.peak("cpu") as inner:
            del held
        later = block(2 * BIG)
        del later
    assert inner.process - start < 1.5 * BIG
    assert outer.process - start > 1.8 * BIG
    assert outer.device == outer.process


def test_a_peak_ends_its_thread_when_the_block_fails() -> None:
    import threading

    with pytest.raises(ZeroDivisionError), memory.peak("cpu"):
        raise ZeroDivisionError
    assert all(thread.name != "memory" for thread in threading.enumerate())


def test_the_lifetime_peak_only_grows() -> None:
    before = memory.lifetime_peak()
    held = block(4 * BIG)
    assert memory.lifetime_peak() >= max(before, memory.snapshot("cpu").process - BIG)
    del held
    assert memory.lifetime_peak() >= before


class Counter:
    """Stands for CUDA's counter of one device."""

    def __init__(self) -> None:
        self.now = self.most = 100

    def use(self, amount: int) -> None:
        self.now += amount
        self.most = max(self.most, self.now)

    def max_memory_allocated(self, device: torch.device) -> int:
        return self.most

    def reset_peak_memory_stats(self, device: torch.device) -> None:
        self.most = self.now


def test_nested_peaks_share_the_counter_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter()
    for name in ("max_memory_allocated", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, getattr(counter, name))
    counter.use(50)
    counter.use(-50)
    with memory.peak("cuda:0") as outer:
        counter.use(30)
        counter.use(-30)
        with memory.peak("cuda:0") as inner:
            counter.use(10)
            counter.use(-10)
    assert (outer.device, inner.device) == (130, 110)


def test_the_node_hands_the_value_on_and_says_the_figures() -> None:
    value = object()
    output = MemoryReport.execute(value, "after loading")
    assert output.result is not None
    assert output.result[0] is value
    assert output.result[1].startswith("after loading: process ")
    (figures,) = output.ui["memory"]
    assert figures["label"] == "after loading"
    assert figures["process_peak"] >= figures["process"] > 0


def test_the_report_of_a_gpu_names_the_gpu() -> None:
    figures = {**measure(""), "device": "cuda:0", "allocated": 3 << 20, "reserved": 5 << 20}
    assert in_words(figures).startswith("cuda:0 3 MiB in tensors, 5 reserved, ")
