"""The two loops of every voice client over one Live session, and lines from a keyboard beside them."""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress

from microturn.client.events import Audio, Event
from microturn.client.live import Session
from microturn.client.sound import Sound

END, ERASE = "\x04", "\x7f\b"


async def converse(
    session: Session, sound: Sound, heard: Callable[[bytes], None] = lambda pcm: None
) -> AsyncIterator[Event]:
    """What is heard is sent, what is said is played, and every event is handed on; ends when the sound does.

    `heard` is shown every piece that is sent.
    """

    async def send() -> None:
        try:
            async for piece in sound.pieces():
                heard(piece)
                await session.send_audio(piece)
        finally:
            await session.end()

    sending = asyncio.create_task(send())
    try:
        async for event in session:
            if isinstance(event, Audio) and not sound.play(event.pcm):
                await session.dropped()
            yield event
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending


async def typed_lines(show: Callable[[str], None] = lambda line: None) -> AsyncIterator[str]:
    """Lines as they are typed or piped in, until the input ends; `show` is told of the line that is begun."""
    coming: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_read, args=(loop, coming), daemon=True).start()
    line = ""
    with _key_by_key():
        while True:
            for letter in await coming.get():
                if letter == END:
                    return
                if letter == "\n":
                    if line.strip():
                        yield line.strip()
                    line = ""
                elif letter in ERASE:
                    line = line[:-1]
                elif letter.isprintable():
                    line += letter
            show(line)


def _read(loop: asyncio.AbstractEventLoop, coming: asyncio.Queue[str]) -> None:
    """A thread, because not everything that can be standard input can be waited for."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    with suppress(RuntimeError, OSError):  # the loop has gone; there is no input
        while data := os.read(sys.stdin.fileno(), 1024):
            loop.call_soon_threadsafe(coming.put_nowait, decode(data))
        loop.call_soon_threadsafe(coming.put_nowait, "\n" + END)


@contextmanager
def _key_by_key() -> Iterator[None]:
    """A terminal gives keys as they are pressed, where the system can do that, and is set back."""
    try:
        import termios
        import tty
    except ImportError:
        termios = None  # type: ignore[assignment]
    if termios is None or not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
