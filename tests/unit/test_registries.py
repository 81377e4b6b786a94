"""What is written is entered where users meet it: nodes, samplers, formats, measures, routes."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from types import ModuleType

import comfy_nodes
from comfy_nodes.formats import sheets
from comfy_nodes.ops import measures
from comfy_nodes.ops.measures.catalogue import MEASURES
from orchestrator import service
from orchestrator.engine import host
from orchestrator.engine.sampling import samplers, schedules
from orchestrator.service.page import exports

# The nodes ask for ComfyUI's API.
host.install()


def modules_in(package: ModuleType) -> list[ModuleType]:
    """The modules of a package, not those of its packages."""
    found = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    return [import_module(one.name) for one in found if not one.ispkg]


def functions_in(module: ModuleType) -> dict[str, inspect.Signature]:
    """The public functions that a module defines, by name."""
    return {
        name: inspect.signature(function)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


def test_every_node_is_in_the_list_that_hosts_load() -> None:
    from comfy_api.latest import io

    from comfy_nodes.extension import NODES

    written = {
        one
        for module in modules_in(comfy_nodes)
        for _, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, io.ComfyNode)
        and one.__module__ == module.__name__
        and "define_schema" in vars(one)
    }
    assert written == set(NODES)
    assert len(NODES) == len(written)


def test_every_sampler_and_schedule_can_be_chosen() -> None:
    steps = {name for name, one in functions_in(samplers).items() if "denoise" in one.parameters}
    assert steps == {one.__name__ for one in samplers.SAMPLERS.values()}
    spaced = {
        name
        for name, one in functions_in(schedules).items()
        if list(one.parameters)[:2] == ["table", "steps"]
    }
    assert spaced == {one.__name__ for one in schedules.SCHEDULES.values()}


def test_every_format_of_a_sheet_can_be_chosen() -> None:
    written = {module.__name__ for module in modules_in(sheets)}
    assert written == {one.write.__module__ for one in sheets.FORMATS.values()}
    # The page offers some of them, under names of its own.
    assert set(exports.FORMATS) <= set(sheets.FORMATS)


def test_every_measure_is_in_the_catalogue() -> None:
    """A measure is a function of what is measured alone, and gives a number or None."""
    for module in modules_in(measures):
        taken = {
            name
            for name, one in functions_in(module).items()
            if one.return_annotation == "float | None" and len(one.parameters) == 1
        }
        assert taken <= set(MEASURES), module.__name__


def test_every_face_of_the_service_is_served() -> None:
    """A route is known once its router is; what a page is made of is no part of the OpenAPI."""
    from fastapi import APIRouter

    from orchestrator.service.app import description

    served = set(description()["paths"])
    for _, name, is_package in pkgutil.walk_packages(service.__path__, "orchestrator.service."):
        if is_package or not name.endswith((".routes", ".health")):
            continue
        router = import_module(name).router
        assert isinstance(router, APIRouter)
        if router.include_in_schema:
            assert {route.path for route in router.routes if route.include_in_schema} <= served
