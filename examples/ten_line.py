"""Speech both ways in ten lines: two loops over one WebSocket, and nothing between them but sound.

    python examples/ten_line.py [URI [RECORDING]]

Turn-taking, interruptions, pauses: all of it happens at the other end; here only the URI says where that is.
nano today: talks, without any words about it.
"""

import asyncio
import sys

import websockets

from microturn.client import Sound, open_sound


async def capture_and_stream_audio(socket: websockets.ClientConnection, sound: Sound) -> None:
    async for piece in sound.pieces():
        await socket.send(piece)
    await socket.close()


async def receive_and_play_audio(socket: websockets.ClientConnection, sound: Sound) -> None:
    async for message in socket:
        if isinstance(message, bytes):
            sound.play(message)


async def main(uri: str = "ws://localhost:8000/v1/microturn/duplex", recording: str | None = None) -> None:
    with open_sound(recording) as sound:
        async with websockets.connect(f"{uri}{'&' if '?' in uri else '?'}rate={sound.rate}") as socket:
            await asyncio.gather(
                capture_and_stream_audio(socket, sound), receive_and_play_audio(socket, sound)
            )


if __name__ == "__main__":
    if len(sys.argv) > 3:
        sys.exit("usage: ten_line.py [URI [RECORDING]]")
    try:
        asyncio.run(main(*sys.argv[1:]))
    except (ValueError, OSError) as problem:
        sys.exit(str(problem))
