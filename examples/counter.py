"""Counts what repeats in front of a camera, and says the numbers as it happens.

    python examples/counter.py [URL [FILM [WHAT]]]

Five pictures a second go out, one a tick; the counting is the model's. A film takes the place of the camera.

nano today: counts along: within one in 15 of 40 films, exactly in 13.
"""

import asyncio
import io
import sys
from collections.abc import Iterator

import av
from PIL import Image

from microturn.client import Said, Session, Silence, converse, live

CAMERAS = {"linux": ("/dev/video0", "v4l2"), "darwin": ("default", "avfoundation")}
HEIGHT, EVERY_S, LINGER_S = 240, 0.2, 3.0


def pictures(film: str | None) -> Iterator[tuple[float, bytes]]:
    """When (s from the first), and the picture as JPEG."""
    place, format = (film, None) if film else CAMERAS.get(sys.platform, ("video=Integrated Camera", "dshow"))
    try:
        source = av.open(place, format=format)
    except (av.FFmpegError, OSError):
        raise ValueError(f"no camera or film at {place}; name a film: counter.py URL FILM") from None
    first = due = -1.0
    for frame in source.decode(video=0):
        first = frame.time if first < 0 else first
        if frame.time - first >= due:
            due = max(0.0, due) + EVERY_S
            small, jpeg = frame.reformat(HEIGHT * frame.width // frame.height, HEIGHT), io.BytesIO()
            Image.fromarray(small.to_ndarray(format="rgb24")).save(jpeg, "JPEG")
            yield frame.time - first, jpeg.getvalue()


async def watch(session: Session, sound: Silence, film: str | None) -> None:
    clock = asyncio.get_running_loop().time
    began, coming = clock(), pictures(film)
    try:
        while shown := await asyncio.to_thread(next, coming, None):
            await asyncio.sleep(began + shown[0] - clock())
            await session.send_frame(shown[1])
        await asyncio.sleep(LINGER_S)
    finally:
        sound.stop()


async def main(url: str = "ws://localhost:8000", film: str | None = None, what: str = "push-ups") -> None:
    sound = Silence()
    async with live(url, instructions=f"please count out my {what}") as session:
        watching = asyncio.create_task(watch(session, sound, film))
        async for event in converse(session, sound):
            if isinstance(event, Said):
                print(f"{event.start_ms / 1000:6.1f} s {event.text}", flush=True)
        await watching


if __name__ == "__main__":
    if len(sys.argv) > 4:
        sys.exit("usage: counter.py [URL [FILM [WHAT]]]")
    try:
        asyncio.run(main(*sys.argv[1:]))
    except (ValueError, OSError) as problem:
        sys.exit(str(problem))
