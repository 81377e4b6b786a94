"""The node that says how much memory is in use where a value comes by."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import memory
from .schemas import Category, schema

_MIB = 1 << 20


class MemoryReport(io.ComfyNode):
    """Hands a value on, and reports memory at that moment."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksMemoryReport",
            display_name="Memory Report",
            category=Category.SPEED,
            description="Put it on any link: it hands the value on and reports the memory in use "
            "at that moment, here and in run.json.",
            shown=("label",),
            search_aliases=("memory usage", "vram usage", "ram usage"),
            inputs=[
                io.AnyType.Input("value", tooltip="Anything; it is handed on as it is."),
                io.String.Input(
                    "label",
                    default="",
                    tooltip="What the report calls this place, for example: after sampling.",
                ),
            ],
            outputs=[
                io.AnyType.Output(display_name="value", tooltip="What came in."),
                io.String.Output(display_name="report", tooltip="The report as one line."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, value: Any, label: str) -> io.NodeOutput:
        """The value, and the report in words; the figures in bytes go to the clients."""
        figures = measure(label)
        text = in_words(figures)
        return io.NodeOutput(value, text, ui={"memory": [figures], "text": [text]})


def measure(label: str) -> dict[str, Any]:
    """The figures of one report, in bytes; see memory.Snapshot.

    `process_peak` is that of the process's whole life.
    """
    now = memory.snapshot()
    return {"label": label, **vars(now), "process_peak": memory.lifetime_peak()}


def in_words(figures: dict[str, Any]) -> str:
    """One line for a person, in MiB."""

    def mib(name: str) -> str:
        return f"{figures[name] / _MIB:,.0f}"

    where = f"{figures['label']}: " if figures["label"] else ""
    process = f"process {mib('process')} MiB (at most {mib('process_peak')})"
    system = f"system {mib('system_free')} of {mib('system_total')} MiB free"
    if figures["device"] == "cpu":
        return f"{where}{process}, {system}"
    device = (
        f"{figures['device']} {mib('allocated')} MiB in tensors, {mib('reserved')} reserved, "
        f"{mib('device_free')} of {mib('device_total')} free"
    )
    return f"{where}{device}; {process}, {system}"
