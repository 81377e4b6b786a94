"""The WebSockets of all clients: who is there, and who gets which event."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from ...errors import ProtocolError
from ...protocol import (
    Event,
    Executing,
    FeatureFlags,
    Preview,
    QueueStatus,
    decode_event,
    encode_event,
)

logger = logging.getLogger(__name__)

# A client that reads slower than this many frames gets no previews; messages are never dropped.
_WAITING_FRAMES = 64


class Connection:
    """One client's socket with the frames that wait to be sent."""

    def __init__(self, socket: WebSocket, client_id: str) -> None:
        self.client_id = client_id
        self._socket = socket
        self._frames: asyncio.Queue[str | bytes] = asyncio.Queue()
        self._features: Mapping[str, Any] = {}

    def put(self, event: Event, *, personal: bool) -> None:
        """Queue an event; `personal` means that it was sent to this client by name.

        Only then, as in ComfyUI, do previews say which node they belong to.
        """
        if isinstance(event, Preview) and self._frames.qsize() > _WAITING_FRAMES:
            return
        wants_metadata = self._features.get("supports_preview_metadata") is True
        self._frames.put_nowait(encode_event(event, preview_metadata=personal and wants_metadata))

    async def serve(self, features: FeatureFlags) -> None:
        """Send and receive until the client goes."""
        sender = asyncio.create_task(self._send())
        try:
            await self._receive(features)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            frame = await self._frames.get()
            if isinstance(frame, str):
                await self._socket.send_text(frame)
            else:
                await self._socket.send_bytes(frame)

    async def _receive(self, features: FeatureFlags) -> None:
        first = True
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if first and message.get("text"):
                self._negotiate(message["text"], features)
                first = False

    def _negotiate(self, text: str, features: FeatureFlags) -> None:
        try:
            event = decode_event(text)
        except ProtocolError:
            logger.warning("client %s sent a message that is not JSON", self.client_id)
            return
        if isinstance(event, FeatureFlags) and isinstance(event.data, Mapping):
            self._features = event.data
            self.put(features, personal=True)


class Hub:
    """All connections. `send` and `listens` may be called from any thread."""

    def __init__(self, features: Mapping[str, Any]) -> None:
        """`features` is what the server tells clients that it can do."""
        self.features = dict(features)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections: dict[str, Connection] = {}
        # the node that runs, and whose it is; told to a client that comes back
        self._running: tuple[Executing, str | None] | None = None

    def start(self) -> None:
        """Call in the event loop that serves the sockets."""
        self._loop = asyncio.get_running_loop()

    async def serve(self, socket: WebSocket, remaining: int) -> None:
        """Serve one client until it goes; `remaining` jobs wait or run as it comes.

        A client that comes back under its id takes the place of its old socket, and the old one's
        end does not touch the new one (ComfyUI's does; PROTOCOL: pitfall 2).
        """
        client_id = socket.query_params.get("clientId") or uuid.uuid4().hex
        await socket.accept()
        connection = Connection(socket, client_id)
        self._connections[client_id] = connection
        connection.put(QueueStatus(queue_remaining=remaining, sid=client_id), personal=True)
        if self._running is not None and self._running[1] == client_id:
            connection.put(self._running[0], personal=True)
        try:
            await connection.serve(FeatureFlags(data=self.features))
        except WebSocketDisconnect:
            logger.debug("client %s left", client_id)
        finally:
            if self._connections.get(client_id) is connection:
                del self._connections[client_id]

    def send(self, event: Event, client_id: str | None) -> None:
        """Send to one client, or with None to all; without a listener nothing happens."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        loop.call_soon_threadsafe(self._put, event, client_id)

    def listens(self, client_id: str | None) -> bool:
        """Say whether that client, or with None anybody, is there."""
        return bool(self._connections) if client_id is None else client_id in self._connections

    def _put(self, event: Event, client_id: str | None) -> None:
        if isinstance(event, Executing):
            self._running = None if event.node is None else (event, client_id)
        if client_id is None:
            for connection in list(self._connections.values()):
                connection.put(event, personal=False)
        elif client_id in self._connections:
            self._connections[client_id].put(event, personal=True)
