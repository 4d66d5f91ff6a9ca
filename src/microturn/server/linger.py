"""A WebSocket that says why it refuses what came, and is heard.

Closing a connection with unread bytes in it makes the kernel reset it, and a reset overtakes the close frame: who
sent a message that was too large would see a broken line instead of the reason. So the rest of what comes is read
and thrown away until the other side has seen the end.
"""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

LINGER_S = 5.0


class Lingering(WebSocketsSansIOProtocol):
    refusing = False

    def data_received(self, data: bytes) -> None:
        if not self.refusing:
            super().data_received(data)

    def handle_parser_exception(self) -> None:
        self.refusing = self.close_sent = True
        closing = self.conn.close_sent
        assert closing is not None
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": closing.code, "reason": closing.reason}
        )
        self.stop_keepalive()
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.close)
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()
