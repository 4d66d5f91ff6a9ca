"""What the agent without a model can do, understood from spoken and written words, and what it says it cannot."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injections import INJECTIONS, is_quoted
from microturn.background import Background, Kind, Piece, Recent, When
from microturn.background.agent import Agent, Documents
from microturn.background.figures import calculate, convert, date, figures, length, spell
from microturn.clock import TICKS_PER_SECOND
from microturn.events import OPENING, Event
from microturn.streams import Channel, Perception

NOW = datetime(2026, 11, 21, 14, 5)  # a Saturday


def ask(agent: Agent, *texts: str, typed: bool = False) -> list[Piece]:
    recent, said = Recent(), list[Piece]()
    for i, text in enumerate(texts):
        tick = 10 * i * TICKS_PER_SECOND
        event = Event("read", tick, text, channel=Channel.TYPED) if typed else Event("hear", tick, text)
        recent.follow(tick, Perception(), [event])
    asyncio.run(agent.work(recent.build("d1"), said.append))
    return said


def agent(**options: object) -> Agent:
    return Agent(lambda: NOW, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("what is twenty three times seven", "It is 161."),
        ("One hundred and five plus two thousand three hundred, please.", "It is 2405."),
        ("fifteen percent of eighty", "It is 12."),
        ("what's the square root of 81", "It is 9."),
        ("(3 + 4) * -2", "It is -14."),
        ("1,234.5 * 2", "It is 2469."),
        ("seven divided by zero", "That divides by zero."),
        ("(0 - 8) ** 0.5 + 1", None),
        ("9 ** 9 ** 9 ** 9", None),
        ("two or three", None),
        ("what is seven and a half plus one", "It is 8.5."),
        ("a hundred minus thirty seven point five", "It is 62.5."),
        ("what is three point one four times two", "It is 6.28."),
        ("add twelve and thirty", "It is 42."),
        ("subtract nine from twenty", "It is 11."),
        ("divide ninety by six", "It is 15."),
        ("split eighty four by four", "It is 21."),
        ("split sixty into three parts", "It is 20."),
        ("multiply six by seven", "It is 42."),
        ("twenty percent off fifty", "It is 40."),
        ("three quarters of sixty", "It is 45."),
        ("what is half of eighty", "It is 40."),
        ("two to the tenth power", "It is 1024."),
        ("no, I mean twelve times fifteen", "It is 180."),
        ("fifteen percent of sixty dollars", None),
        ("eighteen plus seven and then times two", None),
        ("add five percent to sixty", None),
        ("call 555-1234", None),
        ("what is two plus two in binary", None),
        ("__import__('os') + 1", None),
        ("(" * 10_000 + "1+1", None),
    ],
)
def test_arithmetic(text: str, answer: str | None) -> None:
    assert calculate(text) == answer


@given(st.integers(0, 999_999))
def test_spoken_numbers_are_figures(number: int) -> None:
    def below_1000(n: int) -> str:
        small = (
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
        )
        names = f"{small} sixteen seventeen eighteen nineteen".split()
        tens = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
        if n < 20:
            return names[n]
        if n < 100:
            return tens[n // 10 - 2] + (f" {names[n % 10]}" if n % 10 else "")
        return f"{names[n // 100]} hundred" + (f" and {below_1000(n % 100)}" if n % 100 else "")

    thousands, rest = divmod(number, 1_000)
    spoken = f"{below_1000(thousands)} thousand " * bool(thousands)
    spoken += below_1000(rest) if rest or not thousands else ""
    assert figures(f"say {spoken} times") == f"say {number} times"


@given(st.text(max_size=60))
def test_any_text_is_understood_or_not_but_never_an_error(text: str) -> None:
    for skill in (calculate, convert, lambda text: date(text, NOW)):
        answer = skill(text)
        assert answer is None or answer.endswith(".")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("how many feet are in a mile", "1 mile is 5280 feet."),
        ("convert five miles to kilometers", "5 miles is 8.04672 kilometers."),
        ("seventy two fahrenheit in celsius", "72 fahrenheit is 22.2222 celsius."),
        ("how many days are there in two weeks", "2 weeks is 14 days."),
        ("five miles in kilograms", None),
        ("how much is half a mile in meters", "0.5 mile is 804.672 meters."),
        ("five feet ten inches in centimeters", None),
    ],
)
def test_units(text: str, answer: str | None) -> None:
    assert convert(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("what time is it", "It is 14:05."),
        ("what day is it", "That is Saturday, 21 November 2026."),
        ("what's the date tomorrow", "That is Sunday, 22 November 2026."),
        ("what day was it two weeks ago", "That is Saturday, 07 November 2026."),
        ("how many days until 25 december", "It is 34 days until Friday, 25 December 2026."),
        ("how many days until december twenty fifth", "It is 34 days until Friday, 25 December 2026."),
        ("how many days until 29 february", "It is 465 days until Tuesday, 29 February 2028."),
        ("how many days until february thirtieth", None),
        ("how many days until 25 december 2030", None),
        ("what day of the week is christmas", "That is Friday, 25 December 2026."),
        ("how many days until new year's eve", "It is 40 days until Thursday, 31 December 2026."),
        ("when is the first of may", "That is Saturday, 01 May 2027."),
        ("what year is it", "That is Saturday, 21 November 2026."),
        ("when is next friday", None),
        ("how many days until my birthday", None),
        ("what time is it in atlantis", None),
        ("could you tell me the time please", "It is 14:05."),
        ("what time is the meeting in oslo", None),
        ("what day is the concert", None),
        ("what's the date the day after tomorrow", "That is Monday, 23 November 2026."),
        ("which day of the week was it a week ago", "That is Saturday, 14 November 2026."),
    ],
)
def test_dates(text: str, answer: str | None) -> None:
    assert date(text, NOW) == answer


@pytest.mark.skipif(not available_timezones(), reason="this machine knows no time zones")
def test_the_time_elsewhere() -> None:
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert date("Hey, what time is it in Oslo?", noon) == "It is 13:00 there."
    assert date("what's the time in new york", noon) == "It is 07:00 there."


def test_the_latest_words_count_and_may_have_been_typed() -> None:
    assert ask(agent(), "what time is it", "what is two plus two")[-1].text == "It is 4."
    assert ask(agent(), "what is two plus two", "please")[-1].text == "It is 4."
    assert ask(agent(), "2 + 3", typed=True)[-1].text == "It is 5."


def test_it_says_what_it_cannot_do() -> None:
    said = ask(agent(), "book me a flight to rome")
    assert [p.kind for p in said] == [Kind.FINAL]
    assert said[0].text.startswith("I cannot do that here. I can calculate")


def test_a_timer_is_set_and_interrupts_when_it_is_up() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    said = ask(agent(sleep=sleep), "remind me in five minutes to check the oven")
    assert slept == [300]
    assert [(p.kind, p.when, p.text) for p in said] == [
        (Kind.COMMENTARY, When.WHEN_IDLE, "The timer is set: 5 minutes."),
        (Kind.FINAL, When.INTERRUPT, "The time is up, 5 minutes have passed: check the oven."),
    ]
    assert "longest timer" in ask(agent(sleep=sleep), "set a timer for 30 hours")[-1].text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("set a timer for half an hour", 1_800),
        ("Please set a timer for two minutes and thirty seconds.", 150),
        ("start a thirty-minute timer", 1_800),
        ("wake me up in an hour and a half", 5_400),
        ("remind me to call ann in two and a half hours", 9_000),
        ("set a timer for three quarters of an hour for the bread", 2_700),
        ("remind me every 4 seconds", None),
        ("set a timer for five minutes every day", None),
        ("set a timer for five minutes and another for ten", None),
        ("don't set a timer for five minutes", None),
        ("set an alarm for seven", None),
    ],
)
def test_a_timer_waits_as_long_as_was_said_or_is_not_set(text: str, seconds: int | None) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    said = ask(agent(sleep=sleep), text)
    assert slept == ([] if seconds is None else [seconds])
    assert said[-1].text.startswith("I cannot do that" if seconds is None else "The time is up")


@given(st.integers(1, 86_400))
def test_lengths_of_time_are_understood_as_they_are_told(seconds: int) -> None:
    assert length(spell(seconds)) == seconds


def test_two_things_at_once_are_not_half_done() -> None:
    said = ask(agent(), "set a timer for five minutes what is two plus two")
    assert [p.text[:16] for p in said] == ["I cannot do that"]
    assert ask(agent(), "do not read my notes")[-1].text.startswith("I cannot do that")


def test_notes_are_kept_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    assert ask(agent(notes_file=file), "read my notes")[-1].text == "There are no notes."
    ask(agent(notes_file=file), "Note that the key is under the mat")
    ask(agent(notes_file=file), "please remember that Ann\nlikes tea")
    ask(agent(notes_file=file), "note to self: call the bank")
    for asked in ("read my notes", "what did I ask you to remember?"):
        assert ask(agent(notes_file=file), asked)[-1].text == (
            "Your notes: the key is under the mat; Ann likes tea; call the bank"
        )


def test_documents_are_searched_and_changes_found(tmp_path: Path) -> None:
    (tmp_path / "trip").mkdir()
    (tmp_path / "trip" / "plan.md").write_text('The ferry to "Naxos" leaves at seven.')
    (tmp_path / "picture.png").write_bytes(b"ferry")
    with_documents = agent(documents=Documents(tmp_path))
    question = "when does the ferry leave"
    assert ask(with_documents, question)[-1].text == (
        'trip/plan.md says: The ferry to "Naxos" leaves at seven.'
    )
    (tmp_path / "trip" / "plan.md").write_text("The ferry leaves at nine, as was announced.")
    assert "nine" in ask(with_documents, question)[-1].text
    assert "search your documents" in ask(with_documents, 'xyzzy "OR * NEAR(')[-1].text
    (tmp_path / ".secret.txt").write_text("The ferry is late.")
    (tmp_path / "trip" / ".old").mkdir()
    (tmp_path / "trip" / ".old" / "plan.md").write_text("When is the ferry? Is the ferry late?")
    assert "nine" in ask(with_documents, "when is the ferry")[-1].text


@pytest.mark.parametrize(
    ("text", "answered"),
    [
        ("who has the key to the cabin", True),
        ("what is the wifi password at the cabin please", True),
        ("search my documents for cabins", True),
        ("wake me up at seven", False),
        ("ten dollars in euros", False),
        ("remind me tomorrow to leave the cabin", False),
        ("how many days until my birthday", False),
        ("what's in my documents about whales", False),
    ],
)
def test_a_document_answers_only_what_it_is_about(text: str, answered: bool, tmp_path: Path) -> None:
    (tmp_path / "cabin.txt").write_text("Ann has the key of the cabin. Its wifi password: blueberry.")
    (tmp_path / "trip.txt").write_text(
        "The ferry leaves at seven and costs 32 euros. Marta's birthday: May 3."
    )
    said = ask(agent(documents=Documents(tmp_path)), text)[-1].text
    assert said.startswith("cabin.txt says" if answered else "I cannot do that here")


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
def test_a_document_cannot_become_an_instruction(text: str, tmp_path: Path) -> None:
    """From the file to what the model reads, and on to the next package."""
    (tmp_path / "ferry.txt").write_bytes(f"The ferry {text[:500]} leaves at seven.".encode(errors="replace"))

    async def main() -> None:
        background = Background(lambda text: 1, agent(documents=Documents(tmp_path)))
        background.recent.read([Event("read", OPENING, "be brief", channel=Channel.INSTRUCTIONS)])
        background.follow(0, Perception(), [Event("hear", 0, " when does the ferry leave")])
        task = background.delegate("d1").task
        assert task is not None
        await task
        lines = [line for tick in range(1, 50) if (line := background.follow(tick, Perception(), []))]
        assert lines
        assert all(map(is_quoted, lines))
        background.recent.read([Event("read", 60, line.text, channel=line.channel) for line in lines])
        told = background.recent.build("d2", background.earlier()).told().splitlines()
        assert [line.split(":")[0] for line in told[:2]] == ["Instruction", "Asked before"]
        assert [line.split("] ", 1)[1].split(":")[0] for line in told[2:]] == [
            "user", *["background"] * len(lines), "The work was delegated.",
        ]  # fmt: skip

    asyncio.run(main())


def test_however_many_timers_a_background_model_sets_each_begins_at_once() -> None:
    begun: list[float] = []

    async def sleep(seconds: float) -> None:
        begun.append(seconds)
        await asyncio.Event().wait()

    async def main() -> None:
        timer = next(skill for skill in agent(sleep=sleep).skills if skill.name == "timer").tool()
        asked = [f'{{"text": "set a timer for {n} minutes"}}' for n in range(1, 10)]
        calls = [asyncio.create_task(timer.run(text, lambda progress: None)) for text in asked]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert begun == [60.0 * n for n in range(1, 10)]
        for call in calls:
            call.cancel()

    asyncio.run(main())


def test_the_skills_are_tools_for_background_models() -> None:
    tools = {skill.name: skill.tool() for skill in agent().skills}

    def call(name: str, arguments: str) -> str:
        return asyncio.run(tools[name].run(arguments, lambda text: None))

    assert call("calculate", '{"text": "6 * 7"}') == "It is 42."
    assert call("calculate", '{"text": "love"}').startswith("calculate failed: not understood")
    assert call("calculate", '{"text": 3}').startswith("calculate failed")
