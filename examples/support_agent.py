"""A support agent that takes account numbers, and can be interrupted while it speaks.

    python examples/support_agent.py [URL [RECORDING]]

The model talks; what it cannot know it hands over, and this program answers: it looks up the digits heard so far.
What it finds goes back as a comment, which the model says when there is room for it. Nothing here waits for the
caller to finish or stops the agent when somebody speaks: that is the model's own decision, and only printed.

nano today: hears 99 of 100 digits of a stranger and adds 2, answers mostly wrong.
"""

import asyncio
import sys

from microturn.client import Delegated, Heard, Said, Tick, converse, live, open_sound

AGENT = "you take account numbers. say each number back. when you have four numbers look up the account."
ACCOUNTS = {"4711": "ann owes twelve euros", "0815": "bob has paid everything"}
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS = {word: str(i) for i, word in enumerate(WORDS)}


def answer(heard: str) -> str:
    number = "".join(DIGITS.get(word, word if word.isdigit() else "") for word in heard.lower().split())[-4:]
    return ACCOUNTS.get(
        number, f"there is no account {' '.join(number)}" if number else "which account is it"
    )


async def main(url: str = "ws://localhost:8000", recording: str | None = None) -> None:
    heard, decision = "", "listen"
    with open_sound(recording) as sound:
        async with live(url, instructions=AGENT, rate=sound.rate, ticks=True) as session:
            async for event in converse(session, sound):
                match event:
                    case Heard(text=text):
                        heard += text
                        print(f"caller: {text.strip()}", flush=True)
                    case Said(text=text):
                        print(f" agent: {text.strip()}", flush=True)
                    case Delegated(delegation=work):
                        print(f"lookup: {answer(heard)}", flush=True)
                        await session.comment(answer(heard), work.id)
                    case Tick(decision=now):
                        if decision == "speak" and now == "listen":
                            print(" agent: (yields)", flush=True)
                        decision = now


if __name__ == "__main__":
    if len(sys.argv) > 3:
        sys.exit("usage: support_agent.py [URL [RECORDING]]")
    try:
        asyncio.run(main(*sys.argv[1:]))
    except (ValueError, OSError) as problem:
        sys.exit(str(problem))
