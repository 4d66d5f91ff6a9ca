"""The duplex socket: PCM16 mono in, PCM16 mono out, one message each tick, and nothing else.

Query: `rate` (8000, 16000, 24000, 48000; default 24000), `pace` (`live`, or `driven`: the input drives time),
`instructions`, `eagerness`, `voice`. An empty message says that no more driven sound comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from starlette.datastructures import QueryParams
from starlette.websockets import WebSocket, WebSocketDisconnect

from microturn.engine import Pace, SessionClosed
from microturn.server.access import MESSAGES, Bucket, Key, accept
from microturn.server.conversation import Conversation, Start, TooFast
from microturn.server.live_events import EAGEREST, LiveError
from microturn.server.lobby import Lobby
from microturn.server.sound import RATES, Ear, Mouth

UNSUPPORTED, POLICY, TOO_LARGE, FAILED = 1003, 1008, 1009, 1011  # close codes of RFC 6455
SEND_S = 10.0  # a client that has not read for so long is let go
CLOSE_S = 1.0
KNOWN = {"rate", "pace", "instructions", "eagerness", "voice"}


class TooLarge(ValueError):
    """A message is larger than the client's key may send."""


def options(query: QueryParams, voices: Sequence[str]) -> tuple[Start, int]:
    """Raises LiveError, naming the parameter."""
    if unknown := sorted(set(query) - KNOWN):
        reason = f"unknown parameter {unknown[0][:120]}: known are {', '.join(sorted(KNOWN))}"
        raise LiveError("unknown_parameter", reason, unknown[0][:120])
    given = {"rate": "24000", "eagerness": "0", "pace": "live"} | dict(query)
    if given["rate"] not in map(str, RATES):
        raise _wrong("rate", f"one of {', '.join(map(str, RATES))}", given)
    if given["pace"] not in (paces := [pace.value for pace in Pace]):
        raise _wrong("pace", f"one of {', '.join(paces)}", given)
    try:
        eagerness = float(given["eagerness"])
    except ValueError:
        raise _wrong("eagerness", "a number", given) from None
    if not -EAGEREST <= eagerness <= EAGEREST:
        raise _wrong("eagerness", f"from {-EAGEREST} to {EAGEREST}", given)
    rate, pace = int(given["rate"]), Pace(given["pace"])
    if (voice := query.get("voice", "")) and voice not in voices:
        known = ", ".join(voices) or "none"
        raise LiveError("invalid_value", f"no voice {voice[:120]!r}: known are {known}", "voice")
    # nobody at the other end of this socket could do delegated work
    start = Start(query.get("instructions", ""), eagerness=eagerness, voice=voice, pace=pace, responses=True)
    return start, rate


def _wrong(name: str, right: str, given: dict[str, str]) -> LiveError:
    return LiveError("invalid_value", f"{name} must be {right}, not {given[name][:120]}", name)


async def serve_duplex(socket: WebSocket, lobby: Lobby, key: Key) -> None:
    """Refusals (LiveError, ValueError, EngineFull, Denied) come before the handshake, as plain HTTP."""
    offer = lobby.offer(key)
    start, rate = options(socket.query_params, offer.voices)
    conversation = await lobby.begin(start, key)
    conversation.connection = asyncio.current_task()
    code, reason = 1000, ""
    try:
        await accept(socket)
        async with asyncio.TaskGroup() as both:
            listening = both.create_task(_listen(socket, conversation, Ear(rate), offer.message))
            code, reason = await _speak(socket, conversation, Mouth(rate), listening)
            listening.cancel()
    except* TooFast as errors:
        code, reason = POLICY, str(errors.exceptions[0])
    except* TooLarge as errors:
        code, reason = TOO_LARGE, str(errors.exceptions[0])
    except* ValueError as errors:
        code, reason = UNSUPPORTED, str(errors.exceptions[0])
    except* TimeoutError:
        code, reason = POLICY, "nothing was read for 10 s"
    except* (WebSocketDisconnect, SessionClosed, OSError):
        pass
    finally:
        conversation.close("remote_hangup")
        await close(socket, code, reason)


async def close(socket: WebSocket, code: int, reason: str) -> None:
    """A client that does not read cannot be told; the kernel lets go of it in the end."""
    with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await socket.close(code, reason[:120])


async def _listen(socket: WebSocket, conversation: Conversation, ear: Ear, most: int) -> None:
    messages = Bucket(MESSAGES, 2 * MESSAGES)
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        while wait := messages.take(1):  # whoever sends more waits, and nobody else does
            await asyncio.sleep(wait)
        data = message.get("bytes")
        if data is None:
            raise ValueError("this socket carries PCM16 in binary messages; text is for /v1/live/sessions")
        if not data:
            if conversation.start.pace is Pace.DRIVEN:
                return await conversation.end_audio()
            continue
        if len(data) > most:
            raise TooLarge(f"a message has at most {most} bytes")
        await conversation.push_audio(ear(data))


async def _speak(
    socket: WebSocket, conversation: Conversation, mouth: Mouth, listening: asyncio.Task[None]
) -> tuple[int, str]:
    driven = conversation.start.pace is Pace.DRIVEN
    while not (driven and listening.done() and conversation.drained):
        waiting = asyncio.ensure_future(conversation.next_beat())
        await asyncio.wait(
            (waiting, listening) if driven and not listening.done() else (waiting,),
            return_when="FIRST_COMPLETED",
        )
        if not waiting.done():
            waiting.cancel()
            continue
        if (beat := waiting.result()) is None:
            failed = conversation.closed is not None and conversation.closed.error is not None
            return (FAILED, "the session failed") if failed else (1000, "")
        async with asyncio.timeout(SEND_S):
            await socket.send_bytes(mouth(beat.action))
    return 1000, "everything was answered"
