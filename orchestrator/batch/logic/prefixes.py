"""Which job a graph that was sent says it is of: the names of its files on the server.

Servers may share an output folder, so every job has names of its own there. They follow from its
key: the graph in a picture's file, and with it the file, is the same in every run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...protocol import Graph

# Inputs by which nodes name the files that they write on the server.
PREFIX = "filename_prefix"
# hex digits of a job's key in its file names on the server; two of 100,000 jobs share 20 digits
# with a chance of 1 in 10^14
DIGITS = 20
_OF_JOB = re.compile(rf"[0-9a-f]{{{DIGITS}}}")


def prefix_of(key: str) -> str:
    """What the files of a job are called on a server, up to the server's own number."""
    return key[:DIGITS]


def name_files(graph: Graph, prefix: str) -> None:
    """Let all nodes of a graph that name files give them this name."""
    for node in graph.values():
        if PREFIX in node["inputs"]:
            node["inputs"][PREFIX] = prefix


def prefixes_in(graph: Graph) -> Iterator[str]:
    """The prefixes of jobs that the nodes of a graph name their files by, if any."""
    for node in graph.values():
        named = node["inputs"].get(PREFIX)
        if isinstance(named, str) and _OF_JOB.fullmatch(named):
            yield named


def savers(graph: Graph) -> int:
    """How many nodes of a graph name files that they write."""
    return sum(PREFIX in node["inputs"] for node in graph.values())
