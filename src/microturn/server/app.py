"""The routes: what is served where, to whom, and how a refusal looks."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from microturn.engine import EngineFull
from microturn.server import live_events as wire
from microturn.server.access import Denied, Key, accept
from microturn.server.conversation import Conversation
from microturn.server.duplex import serve_duplex
from microturn.server.export import stereo
from microturn.server.live_events import LiveError
from microturn.server.live_socket import begin_live, options, problem, serve_live, serve_sideband
from microturn.server.live_start import NAMES, Role
from microturn.server.lobby import Lobby

WEB = Path(__file__).parent / "web"
POLICY = (  # browsers differ in whether 'self' is also its WebSockets
    b"default-src 'self'; connect-src 'self' ws://%b wss://%b; img-src 'self' data: blob:; media-src 'self' blob:; "
    b"worker-src 'self' blob:; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
    b"form-action 'none'"
)
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-cache",
}
Answer = Callable[[Request, Key], Awaitable[Response]]
Serve = Callable[[WebSocket, Key], Awaitable[None]]
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]
REFUSALS = (LiveError, EngineFull, Denied, ValueError)
T = TypeVar("T")


class Transport(wire.Part):
    type: str
    sdp: str


class Create(wire.Part):
    transport: Transport
    session: wire.SessionConfig = msgspec.field(default_factory=wire.SessionConfig)


class SecretWanted(wire.Part):
    expires_after: int = 60  # seconds


class Routes:
    """Every route of one lobby."""

    def __init__(self, lobby: Lobby) -> None:
        self._lobby = lobby
        sessions, get, post, socket = "/v1/live/sessions", self._get, self._post, self._socket
        self.all = [
            Route("/healthz", self._health),
            Route("/readyz", self._ready),
            get("/metrics", self._metrics),
            get("/v1/models", self._models),
            get(sessions + "/{id}/content", self._content),
            post(sessions, self._connect_peer),
            post(sessions + "/{id}/fork", self._connect_peer, "at_ms"),
            post(sessions + "/{id}/hangup", self._hang_up),
            *(post(sessions + "/{id}/" + verb, self._telephony) for verb in ("accept", "refer", "reject")),
            post("/v1/live/client_secrets", self._secret),
            socket("/v1/{model}/duplex", self._duplex),
            socket(sessions, self._live),
            socket(sessions + "/{id}/fork", self._live),
            socket(sessions + "/{id}/attach", self._attach),
            Mount("/", StaticFiles(directory=WEB, html=True, check_dir=False)),
        ]

    # ---- HTTP ----

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _ready(self, request: Request) -> Response:
        engine, journal = self._lobby.engine, self._lobby.journal
        stats = engine.stats()
        why = engine.full() or (journal.trouble if journal else None)
        told = {"status": "busy" if why else "ready", "free": stats.slots - stats.sessions}
        return JSONResponse(told | ({"reason": str(why)} if why else {}), 503 if why else 200)

    async def _metrics(self, request: Request, key: Key) -> Response:
        key.whole()
        return PlainTextResponse(self._lobby.meters.report(self._lobby))

    async def _models(self, request: Request, key: Key) -> Response:
        names = (self._lobby.model, *NAMES)
        more = {"object": "model", "created": 0, "owned_by": "microturn"}
        offer = self._lobby.offer(key)
        more |= {"background": offer.responses, "voices": list(offer.voices)}
        data = [{"id": name, **more} for name in names]
        return JSONResponse({"object": "list", "data": data})

    async def _content(self, request: Request, key: Key) -> Response:
        if self._lobby.journal:
            await asyncio.to_thread(self._lobby.journal.flush)
        journal, stored = self._lobby.stored(request.path_params["id"], key)
        return StreamingResponse(stereo(journal, stored), media_type="audio/wav")

    async def _connect_peer(self, request: Request, key: Key) -> Response:
        """WebRTC: an SDP offer is answered; everything else goes over the peer connection."""
        wanted = await self._body(request, Create, key)
        if wanted.transport.type != "webrtc" or importlib.util.find_spec("aiortc") is None:
            reason = "here is no aiortc" if wanted.transport.type == "webrtc" else "WebSockets need no POST"
            raise LiveError("unsupported_parameter", reason, "transport.type")
        fork = request.path_params.get("id")
        at_ms = request.query_params.get("at_ms")
        since = None if at_ms is None else int(at_ms)
        live = await begin_live(self._lobby, key, wanted.session, Role.CHANNEL, fork, since)
        try:
            rtc = importlib.import_module("microturn.server.rtc")
            sdp: str = await rtc.answer(self._lobby, live.conversation, live, wanted.transport.sdp)
        except BaseException as error:
            live.conversation.close("connection_lost")
            if isinstance(error, ValueError):
                raise LiveError("invalid_value", str(error), "transport.sdp") from None
            raise
        answer = {"session": {"id": live.conversation.id}, "transport": {"type": "webrtc", "sdp": sdp}}
        return JSONResponse(answer, 201)

    async def _hang_up(self, request: Request, key: Key) -> Response:
        self._open(request, key).close("close_requested")
        return Response(status_code=204)

    def _open(self, connection: HTTPConnection, key: Key) -> Conversation:
        conversation = self._lobby.find(connection.path_params["id"], key)
        if conversation is None:
            raise Denied(404, "session_not_found", "there is no such open session")
        return conversation

    async def _telephony(self, request: Request, key: Key) -> Response:
        raise Denied(501, "unsupported", "there is no telephony")

    async def _secret(self, request: Request, key: Key) -> Response:
        wanted = await self._body(request, SecretWanted, key)
        value, expires_at = self._lobby.access.secret(key, wanted.expires_after)
        return JSONResponse({"value": value, "expires_at": expires_at})

    async def _body(self, request: Request, type: type[T], key: Key) -> T:
        data, most = bytearray(), self._lobby.offer(key).message
        async for chunk in request.stream():
            data += chunk
            if len(data) > most:
                raise Denied(413, "too_large", f"at most {most} bytes")
        return wire.read(bytes(data) or b"{}", type)

    # ---- WebSockets ----

    async def _duplex(self, socket: WebSocket, key: Key) -> None:
        if socket.path_params["model"] not in (self._lobby.model, *NAMES):
            raise Denied(404, "model_not_found", f"{self._lobby.model!r} is served")
        await serve_duplex(socket, self._lobby, key)

    async def _live(self, socket: WebSocket, key: Key) -> None:
        await accept(socket)
        await serve_live(socket, self._lobby, key, socket.path_params.get("id"))

    async def _attach(self, socket: WebSocket, key: Key) -> None:
        key.whole()
        conversation = self._open(socket, key)
        options(socket.query_params, "graceful_close")  # it is, asked for or not
        await accept(socket)
        await serve_sideband(socket, self._lobby, key, conversation)

    # ---- who may, and what a refusal looks like ----

    def _get(self, path: str, answer: Answer, *known: str, method: str = "GET") -> Route:
        """`known` are the parameters of its query."""

        async def answered(request: Request) -> Response:
            try:
                key = self._lobby.access.check(request)
                options(request.query_params, *known)
                return await answer(request, key)
            except REFUSALS as error:
                self._lobby.meters.refuse(error)
                return refusal(error)

        return Route(path, answered, methods=[method])

    def _post(self, path: str, answer: Answer, *known: str) -> Route:
        return self._get(path, answer, *known, method="POST")

    def _socket(self, path: str, serve: Serve) -> WebSocketRoute:
        async def served(socket: WebSocket) -> None:
            try:
                await serve(socket, self._lobby.access.check(socket))
            except REFUSALS as error:
                self._lobby.meters.refuse(error)
                await socket.send_denial_response(refusal(error))

        return WebSocketRoute(path, served)


@asynccontextmanager
async def ending(lobby: Lobby) -> AsyncIterator[None]:
    """When the server stops, everybody is told and gets to the end."""
    try:
        yield
    finally:
        lobby.close()
        if rtc := sys.modules.get("microturn.server.rtc"):  # else nobody came that way
            await rtc.hang_up()


def make_app(lobby: Lobby, lifespan: Lifespan | None = None) -> Starlette:
    routes = Routes(lobby).all
    return Starlette(
        routes=routes, middleware=[Middleware(Headers)], lifespan=lifespan or (lambda app: ending(lobby))
    )


def refusal(error: Exception) -> Response:
    headers, status = {}, 400
    if isinstance(error, EngineFull | Denied):
        status = error.status if isinstance(error, Denied) else 503
        if error.retry_after_s:
            headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    told = problem(error)
    inner = {"code": told.code, "message": str(told), "type": told.kind, "param": told.param}
    return JSONResponse({"error": inner}, status, headers)


class Headers:
    """The same security headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = dict(scope.get("headers", ())).get(b"host", b"").split(b";")[0]
        headers = {b"content-security-policy": POLICY % (host, host), **HEADERS}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers.items()]
            await send(message)

        await self._app(scope, receive, with_headers)
