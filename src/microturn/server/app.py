"""The routes: what is served where."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from microturn.server.duplex import serve_duplex
from microturn.server.lobby import Lobby

WEB = Path(__file__).parent / "web"


def make_app(lobby: Lobby) -> Starlette:
    async def duplex(socket: WebSocket) -> None:
        await serve_duplex(socket, lobby, "")

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    routes = [
        Route("/healthz", health),
        WebSocketRoute("/v1/{model}/duplex", duplex),
        Mount("/", StaticFiles(directory=WEB, html=True, check_dir=False)),
    ]
    return Starlette(routes=routes)
