"""A word that the starter model does not know is told by the servers' own ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import websocket

from orchestrator.client.client import Client
from orchestrator.protocol import Event, Graph
from orchestrator.protocol.events import Text, decode_event
from orchestrator.runs.submission import Submission
from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.vocabulary import unknown_words

SERVERS = ["engine_url", pytest.param("comfyui_url", marks=pytest.mark.comfyui)]


def graph(prompt: str, catalogue: Catalogue) -> Graph:
    loader = catalogue.node_class("SpriteworksDiffusersLoader")
    settings = {one.name: one.default for one in loader.inputs if one.required}
    return {
        "1": {
            "class_type": loader.name,
            "inputs": {**settings, "model_name": "spriteworks-starter"},
        },
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": prompt, "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["1", 1]}},
        "4": {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1},
        },
        "5": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0],
                "positive": ["2", 0],
                "negative": ["3", 0],
                "latent_image": ["4", 0],
                "seed": 1,
                "steps": 1,
                "cfg": 1.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
            },
        },
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {
            "class_type": "SaveImage",
            "inputs": {"images": ["6", 0], "filename_prefix": "words"},
        },
    }


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_tells_what_its_model_knows(server: str, request: pytest.FixtureRequest) -> None:
    with Client(request.getfixturevalue(server)) as client:
        catalogue = client.catalogue()
    (said,) = unknown_words(graph("a zebra", catalogue), catalogue)
    assert "zebra" in said
    assert unknown_words(graph("a red potion, pixel art", catalogue), catalogue) == []


@pytest.mark.comfyui
def test_comfyui_shows_it_on_the_text_node(comfyui_url: str) -> None:
    address = comfyui_url.replace("http", "ws", 1) + "/ws?clientId=words"
    # The editor hears of every job; our client hears of its own jobs' progress only.
    editor = websocket.create_connection(address, timeout=60)
    with closing(editor), Client(comfyui_url) as client:
        submission = Submission(graph=graph("a quagga with a red sord", client.catalogue()))
        submission.submit(client)
        submission.wait(client)
        told = next(event for event in heard(editor) if isinstance(event, Text))
    assert told.node_id == "2"
    assert "quagga" in told.text
    assert "'sord' (nearest: sword" in told.text


def heard(editor: websocket.WebSocket) -> Iterator[Event]:
    while True:
        yield decode_event(editor.recv())
