"""The service: HTTP, SSE and WebSocket over a bus. It translates; the bus decides."""
