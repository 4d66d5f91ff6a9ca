"""A companion that listens to a story and shows that it does: “mm hm”, “right”, never a word that takes the floor.

    python examples/companion.py [URL [RECORDING]]

Signs of attention overlap with the story, so a line is printed for each with what had just been heard.

nano today: three a minute, eight in ten at a clause's end.
"""

import asyncio
import sys

from microturn.client import Heard, Said, converse, live, open_sound

SIGNS = {"mm hm", "right", "oh", "i see", "yeah", "wow", "uh huh"}
GAP_MS = 400  # between two things that are said


async def main(url: str = "ws://localhost:8000", recording: str | None = None) -> None:
    heard, said = "", [("", 0)]  # everything; what was said and when (ms) it ended
    with open_sound(recording) as sound:
        async with live(url, instructions="please listen to my story", rate=sound.rate) as session:
            async for event in converse(session, sound):
                match event:
                    case Heard(text=text):
                        heard += text
                    case Said(text=text, start_ms=start, end_ms=end):
                        before, ended = said[-1]
                        if start - ended <= GAP_MS and before:
                            said[-1] = before + text, end
                        else:
                            said.append((text, end))
                            print(f"… {heard[-40:]:40}  [{start / 1000:.1f} s]{text}", flush=True)
    signs = sum(text.strip() in SIGNS for text, _ in said)
    print(f"{signs} signs of attention, {len(said) - 1 - signs} other things said")


if __name__ == "__main__":
    if len(sys.argv) > 3:
        sys.exit("usage: companion.py [URL [RECORDING]]")
    try:
        asyncio.run(main(*sys.argv[1:]))
    except (ValueError, OSError) as problem:
        sys.exit(str(problem))
