"""An interpreter that does not wait for the end of the sentence.

    python examples/translator.py [URL [RECORDING [LANGUAGE]]]

Left what was heard, right what is said, each when it happened; the lag is measured from the newest word heard.

nano today: nothing: it was trained on English.
"""

import asyncio
import sys

from microturn.client import Heard, Said, converse, live, open_sound


async def main(
    url: str = "ws://localhost:8000", recording: str | None = None, language: str = "spanish"
) -> None:
    rule = f"please translate everything i say from {language} as i speak"
    newest = 0  # ms
    with open_sound(recording) as sound:
        async with live(url, instructions=rule, rate=sound.rate) as session:
            async for event in converse(session, sound):
                match event:
                    case Heard(text=text, start_ms=newest):
                        print(f"{newest / 1000:6.1f}  {text.strip()}", flush=True)
                    case Said(text=text, start_ms=start):
                        lag = f"  (+{(start - newest) / 1000:.1f} s)" if newest else ""
                        print(f"{start / 1000:6.1f}  {'':30}{text.strip()}{lag}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 4:
        sys.exit("usage: translator.py [URL [RECORDING [LANGUAGE]]]")
    try:
        asyncio.run(main(*sys.argv[1:]))
    except (ValueError, OSError) as problem:
        sys.exit(str(problem))
