"""The base class of every node, and what its `execute` returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn, cast

from .schema import HiddenHolder, Schema, input_types, node_info


class UIOutput:
    """Something that an output node shows; the classes of `ui` are such."""

    def as_dict(self) -> dict[str, Any]:
        """The `output` of the node's `executed` message: lists by name."""
        raise NotImplementedError


class NodeOutput:
    """What a node gives: its results in the order of the schema, and what it shows."""

    def __init__(
        self,
        *args: Any,
        ui: UIOutput | Mapping[str, Any] | None = None,
        expand: Mapping[str, Any] | None = None,
        block_execution: str | None = None,
    ) -> None:
        if expand is not None or block_execution is not None:
            raise NotImplementedError(
                "the embedded engine neither expands nodes nor blocks branches; "
                "run this workflow on ComfyUI"
            )
        self.args = args
        self.ui = ui

    @property
    def result(self) -> tuple[Any, ...] | None:
        """The results, or None where there are none."""
        return self.args or None

    def __getitem__(self, index: int) -> Any:
        return self.args[index]


class ComfyNode:
    """A node: a schema and a short `execute`, both class methods; there is no instance state."""

    # where the class comes from, as `/object_info` says it
    RELATIVE_PYTHON_MODULE: ClassVar[str] = "custom_nodes.spriteworks"
    # True gives the older `/object_info` form, which most of ComfyUI's built-in nodes have
    IS_CORE: ClassVar[bool] = False
    # filled in while the node runs
    hidden: ClassVar[HiddenHolder] = HiddenHolder()

    @classmethod
    def define_schema(cls) -> Schema:
        """Describe the node. Called again for every request: choices follow the disk."""
        raise NotImplementedError

    # Subclasses name their inputs as parameters, so these two take anything.
    execute: ClassVar[Any]

    @classmethod
    def validate_inputs(cls, **kwargs: Any) -> bool | str:
        """Check constants before anything runs: True, or the reason why not.

        ComfyUI leaves range and choices of the inputs named in the signature to this method.
        """
        raise NotImplementedError

    @classmethod
    def fingerprint_inputs(cls, **kwargs: Any) -> Any:
        """A value that changes when the node must run again although its inputs are the same."""
        raise NotImplementedError

    @classmethod
    def overrides(cls, name: str) -> bool:
        """Say whether the node has its own `name`."""
        own = getattr(getattr(cls, name, None), "__func__", None)
        return own is not None and own is not getattr(
            getattr(ComfyNode, name, None), "__func__", None
        )

    @classmethod
    def GET_SCHEMA(cls) -> Schema:
        """The finished schema; raises ValueError or TypeError where the class is not usable."""
        if not cls.overrides("execute"):
            raise TypeError(f"node class {cls.__name__} has no execute method")
        schema = cls.define_schema()
        schema.finalize()
        schema.validate()
        return schema

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:
        """Inputs in the form of `/object_info`."""
        return input_types(cls.GET_SCHEMA(), core=cls.IS_CORE)

    @classmethod
    def GET_NODE_INFO_V1(cls) -> dict[str, Any]:
        """The node's entry in `/object_info`."""
        return node_info(
            cls.GET_SCHEMA(), core=cls.IS_CORE, python_module=cls.RELATIVE_PYTHON_MODULE
        )

    @classmethod
    def PREPARE_CLASS_CLONE(cls, hidden: HiddenHolder) -> type[ComfyNode]:
        """A subclass for one run that carries `hidden`, and that the node cannot write to."""
        members = {"hidden": hidden, "__module__": cls.__module__}
        return cast("type[ComfyNode]", _Locked(cls.__name__, (cls,), members))


class CoreNode(ComfyNode):
    """Base of built-in nodes that ComfyUI has in the older form; only `/object_info` differs."""

    RELATIVE_PYTHON_MODULE = "nodes"
    IS_CORE = True


class _Locked(type):
    """ComfyUI refuses `cls.x = y` in a running node; so do we, or a node would only work here."""

    def __setattr__(cls, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"node class {cls.__name__} is read-only while it runs: {name!r}")
