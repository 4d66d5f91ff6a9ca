"""A character of a game: a persona in writing, talked to by keyboard. No sound, no camera.

    python examples/game_character.py [URL]

A character lives in time even when nobody types: the model steps five times a second and may speak first. What
happens in the game is told to it with `session.instruct`, here with lines that begin with `*`.

nano today: reads, but plays no part.
"""

import asyncio
import sys

from microturn.client import Said, Session, Silence, converse, live, typed_lines

PERSONA = "you are mara and you keep the lighthouse. you are short of words and you never lie."
LINGER_S = 4.0  # for the answer to the last line


async def type_to(session: Session, sound: Silence) -> None:
    async for line in typed_lines():
        await (session.instruct(line[1:]) if line.startswith("*") else session.send_text(line))
    await asyncio.sleep(LINGER_S)
    sound.stop()


async def main(url: str = "ws://localhost:8000") -> None:
    sound = Silence()
    async with live(url, instructions=PERSONA) as session:
        typing = asyncio.create_task(type_to(session, sound))
        async for event in converse(session, sound):
            if isinstance(event, Said):
                print(event.text, end="", flush=True)
        typing.cancel()
    print()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit("usage: game_character.py [URL]")
    try:
        asyncio.run(main(*sys.argv[1:]))
    except (ValueError, OSError) as problem:
        sys.exit(str(problem))
