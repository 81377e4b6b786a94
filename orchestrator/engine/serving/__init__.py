"""ComfyUI's HTTP and WebSocket over the execution of graphs."""
