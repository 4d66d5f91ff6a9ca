"""The Live dialect over WebSockets: the primary connection, forks, connections that come back, sidebands."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

from msgspec import structs
from starlette.datastructures import QueryParams
from starlette.websockets import WebSocket, WebSocketDisconnect

from microturn.clock import end_ms, start_ms
from microturn.engine import EngineFull, SessionClosed
from microturn.server import live_events as wire
from microturn.server import live_work
from microturn.server.access import MESSAGES, Bucket, Denied, Key
from microturn.server.conversation import Conversation
from microturn.server.duplex import POLICY, SEND_S, UNSUPPORTED, close
from microturn.server.live import Live, short
from microturn.server.live_events import LiveError
from microturn.server.live_start import Role, begin, check, check_fork, named
from microturn.server.lobby import Lobby

FIRST_S = 10.0  # until session.start must have come
LAST_S = 1.0  # for what came before a client went
NORMAL, BUSY = 1000, 1013  # close codes of RFC 6455
HUNG_UP = {1000, 1001}  # closed on purpose: nobody will come back
EXTRAS = ("ticks", "packages")  # that whoever comes back may ask for anew
FLAGS = (*EXTRAS, "graceful_close")
YES_OR_NO = {"true": 1, "1": 1, "false": 0, "0": 0}


def problem(error: Exception) -> LiveError:
    """What a client is told when it cannot have a session."""
    match error:
        case LiveError():
            return error
        case EngineFull():
            return LiveError("busy", str(error), kind="server_error")
        case Denied():
            return LiveError(error.code, str(error), error.param)
    return LiveError("invalid_value", str(error))


def options(query: QueryParams, *known: str) -> dict[str, int]:
    """The milliseconds in a query, and what is asked for by yes or no. Raises LiveError, naming the parameter."""
    for name in query:
        if name not in known:
            reason = f"known here: {', '.join(known) or 'none'}"
            raise LiveError("unknown_parameter", reason, name[:120])
        if name.endswith("_ms") and not re.fullmatch("[0-9]{1,15}", query[name]):
            raise LiveError("invalid_value", "a whole number of milliseconds", name)
        if name in FLAGS and query[name] not in YES_OR_NO:
            raise LiveError("invalid_value", f"one of {', '.join(YES_OR_NO)}", name)
    given = {name: value for name, value in query.items() if name in FLAGS or name.endswith("_ms")}
    return {name: YES_OR_NO[value] if name in FLAGS else int(value) for name, value in given.items()}


async def begin_live(
    lobby: Lobby,
    key: Key,
    config: wire.SessionConfig,
    role: Role,
    fork: str | None = None,
    at_ms: int | None = None,
) -> Live:
    """A new conversation, or a fork of a stored one, as a connection of this kind sees it."""
    offer = lobby.offer(key)
    if fork is None:
        conversation = await lobby.begin(begin(config, offer, role), key)
    else:
        check(config, offer, role)
        journal, _ = lobby.stored(fork, key)
        await asyncio.to_thread(journal.flush)
        _, stored = lobby.stored(fork, key)
        changes = check_fork(config, stored.start, role)
        begun, ended = start_ms(stored.born), end_ms(stored.last)
        if at_ms is not None and not begun <= at_ms <= ended:
            raise LiveError("invalid_value", f"the session lasts from {begun} to {ended} ms", "at_ms")
        conversation = await lobby.fork(fork, key, at_ms, **changes)
        config = structs.replace(config, client=conversation.start.client)
    try:
        live_work.equip(conversation, config.delegation)
    except LiveError:
        conversation.close("close_requested")
        raise
    config = structs.replace(config, delegation=named(config.delegation, conversation.start))
    conversation.config = config
    return Live(conversation, config, offer, role)


def config_of(conversation: Conversation) -> wire.SessionConfig:
    """What it was begun with, for those who come to it later."""
    asked = conversation.config
    return asked if isinstance(asked, wire.SessionConfig) else wire.SessionConfig()


async def serve_live(socket: WebSocket, lobby: Lobby, key: Key, fork: str | None = None) -> None:
    """`session_id` in the query comes back to a session, `after_ms` says what had arrived of it."""
    query, event_id = socket.query_params, None
    came_back = query.get("session_id")
    try:
        back = ("after_ms", *EXTRAS) if came_back else ()
        number = options(query, *(("at_ms",) if fork else ("session_id", *back)))
        if came_back:
            conversation = await lobby.resume(came_back, key)
            config = config_of(conversation)
            asked = {name: bool(number[name]) for name in EXTRAS if name in number}
            extras = structs.replace(config.microturn or wire.Extras(), **asked)
            config = structs.replace(config, microturn=extras)
            live = Live(conversation, config, lobby.offer(key), Role.PRIMARY)
        else:
            async with asyncio.timeout(FIRST_S):
                first = wire.parse(short(await socket.receive_text(), lobby.offer(key)))
            event_id = first.event_id
            if not isinstance(first, wire.StartSession):
                raise LiveError("session_not_started", "the first event must be session.start", "type")
            live = await begin_live(lobby, key, first.session, Role.PRIMARY, fork, number.get("at_ms"))
    except (WebSocketDisconnect, KeyError):
        return await close(socket, POLICY, "messages are text")
    except TimeoutError:
        return await close(socket, POLICY, f"session.start did not come in {FIRST_S:g} s")
    except (LiveError, EngineFull, Denied, ValueError) as error:
        lobby.meters.refuse(error)
        told = problem(error)
        told.client_event_id = told.client_event_id or event_id
        with suppress(WebSocketDisconnect):
            await socket.send_text(wire.encode(told.event()).decode())
        return await close(socket, BUSY if isinstance(error, EngineFull) else POLICY, str(error))
    live.started(event_id)
    if came_back and "after_ms" in number:
        live.tell_again(number["after_ms"])
    try:
        with lobby.connected(live.conversation):
            await _converse(socket, live)
    except asyncio.CancelledError:
        if not live.conversation.connected:
            raise
        await close(socket, POLICY, "another connection took over")


async def serve_sideband(socket: WebSocket, lobby: Lobby, key: Key, conversation: Conversation) -> None:
    config = structs.replace(config_of(conversation), microturn=None)
    live = Live(conversation, config, lobby.offer(key), Role.SIDEBAND)
    live.started()
    await _converse(socket, live)


async def last_words(socket: WebSocket, live: Live) -> int:
    """What a client had still sent before it went is acted upon. Its close code, or 0."""
    try:
        async with asyncio.timeout(LAST_S):
            while True:
                await live.hear(await socket.receive_text())
    except WebSocketDisconnect as gone:
        return gone.code
    except (TimeoutError, RuntimeError, KeyError):  # nothing came, or it was read before
        return 0


async def _converse(socket: WebSocket, live: Live) -> None:
    """Until one side has had enough. A lost primary connection leaves the conversation waiting."""
    code, reason = NORMAL, ""

    async def send(message: bytes) -> None:
        async with asyncio.timeout(SEND_S):
            await socket.send_text(message.decode())

    async def notes() -> None:
        while (message := await live.next_event()) is not None:
            await send(message)
        raise SessionClosed

    async def beats() -> None:
        while (beat := await live.conversation.next_beat()) is not None:
            for event in live.tell(beat):
                await send(wire.encode(event))

    async def listen() -> None:
        messages = Bucket(MESSAGES, 2 * MESSAGES)
        while True:
            message = await socket.receive_text()
            while wait := messages.take(1):  # whoever sends more waits, and nobody else does
                await asyncio.sleep(wait)
            await live.hear(message)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(notes())
            group.create_task(listen())
            if live.role is Role.PRIMARY:
                group.create_task(beats())
    except* KeyError:
        code, reason = UNSUPPORTED, "messages are text"
    except* TimeoutError:
        code, reason = POLICY, f"nothing was read for {SEND_S:g} s"
    except* (
        WebSocketDisconnect,
        RuntimeError,
    ) as gone:  # the latter: something was being sent when it was closed
        codes = {error.code for error in gone.exceptions if isinstance(error, WebSocketDisconnect)}
        codes.add(await last_words(socket, live))
        if live.role is Role.PRIMARY and codes & HUNG_UP:
            live.conversation.close("remote_hangup")
    except* SessionClosed:
        pass
    finally:
        live.leave()
    await close(socket, code, reason)
