"""Tools of background models: our own, and those of MCP servers that a JSON file allows.

    {"mcpServers": {"files": {"command": "mcp-files", "args": ["~/papers"], "tools": {"read_*": {"limit_s": 5}}},
                    "web": {"url": "https://…/mcp", "headers": {"Authorization": "Bearer $WEB_KEY"},
                            "tools": {"delete_*": {"allow": false}, "*": {}}}}}

A tool that no pattern names may not be called; the first pattern that fits counts. A call never raises: what
went wrong is its result, so that the model can go on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from microturn.background.inbox import clean, cut

if TYPE_CHECKING:
    from mcp import Client

log = logging.getLogger(__name__)

ALIVE = (-32601, -32602, -32603)  # of JSON-RPC: no such method, bad parameters, an error inside
NOT_A_NAME = re.compile(r"[^\w-]", re.A)  # to the servers of models
START_S = 20.0  # in which an MCP server must have told its tools
Json = dict[str, Any]  # at the edge: what tools and servers take and give
Progress = Callable[[str], None]


class Permission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    allow: bool = True
    limit_s: float = 30.0
    longest: int = 4_000  # characters of a result
    at_once: int = 4  # calls of one tool


USUAL = Permission()


@dataclass(frozen=True)
class Function:
    name: str
    description: str
    parameters: Json  # JSON schema of the arguments


def shown(result: str, longest: int = USUAL.longest) -> str:
    """What the model gets to see of a result."""
    return cut("\n".join(clean(line, longest) for line in result[: 4 * longest].splitlines()), longest)


@dataclass(frozen=True)
class Tool(Function):
    call: Callable[[Json, Progress], Awaitable[str]]  # Raises ValueError for what it cannot do
    permission: Permission = USUAL
    waits: bool = False  # its calls end when their time has come
    places: asyncio.Semaphore = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", asyncio.Semaphore(self.permission.at_once))

    async def run(self, arguments: str, progress: Progress) -> str:
        try:
            async with self.places, asyncio.timeout(self.permission.limit_s):
                result = await self.call(msgspec.json.decode(arguments or "{}", type=Json), progress)
            return shown(result, self.permission.longest)
        except TimeoutError:
            return f"{self.name} did not answer within {self.permission.limit_s:g} s"
        except msgspec.DecodeError:
            return f"the arguments of {self.name} are not a JSON object"
        except ValueError as error:
            return clean(f"{self.name} failed: {error}", 200)
        except Exception as error:
            log.warning("tool %s: %s", self.name, type(error).__name__)
            return f"{self.name} failed"


class McpServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    url: str = ""
    headers: dict[str, str] = {}
    tools: dict[str, Permission] = {}

    def __repr__(self) -> str:  # without secrets
        return self.command or self.url

    def permission(self, tool: str) -> Permission:
        fits = (given for pattern, given in self.tools.items() if fnmatchcase(tool, pattern))
        return next(fits, Permission(allow=False))


@dataclass(frozen=True)
class McpServers:
    mcpServers: dict[str, McpServer]


@asynccontextmanager
async def mcp_tools(path: Path) -> AsyncIterator[Sequence[Tool]]:
    """The permitted tools of a file's servers, for as long as the context lasts. Enter and leave in one task.

    A server that cannot be reached is logged and left out; the others serve.
    """
    try:
        servers = msgspec.json.decode(path.read_bytes(), type=McpServers).mcpServers
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    for name, server in servers.items():
        if bool(server.command) is bool(server.url):
            raise ValueError(f"{path}: {name} needs a command or a url")
    tools: list[Tool] = []
    lines = {name: _Line(server) for name, server in servers.items()}
    try:
        for name, line in lines.items():
            try:
                async with asyncio.timeout(START_S):
                    listed = (await (await line.client()).list_tools()).tools
            except Exception as error:
                log.warning("MCP server %s cannot be used: %s", name, type(error).__name__)
                continue
            for tool in listed:
                permission = line.server.permission(tool.name)
                if permission.allow:
                    label, call = NOT_A_NAME.sub("_", f"{name}_{tool.name}")[:64], line.caller(tool.name)
                    about = clean(tool.description or "")
                    tools.append(Tool(label, about, tool.input_schema, call, permission))
        yield tools
    finally:
        for line in lines.values():
            await line.close()


class _Line:
    """The way to an MCP server: a task of its own holds it, and another one if it was lost."""

    def __init__(self, server: McpServer) -> None:
        self.server = server
        self._client: asyncio.Future[Client] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def client(self) -> Client:
        if self._client is None:
            self._client = asyncio.get_running_loop().create_future()
            self._tasks = [task for task in self._tasks if not task.done()]
            self._tasks.append(asyncio.create_task(self._hold(self._client)))
        return await asyncio.shield(self._client)

    async def _hold(self, ready: asyncio.Future[Client]) -> None:
        try:
            async with _client(self.server) as client:
                ready.set_result(client)
                await asyncio.Event().wait()
        except Exception as error:
            if ready.done():
                log.warning("an MCP server was lost: %s", type(error).__name__)
            else:
                self._client = None
                ready.set_exception(error)

    def _lose(self) -> None:
        self._client = None
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        self._lose()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def caller(self, name: str) -> Callable[[Json, Progress], Awaitable[str]]:
        async def call(arguments: Json, say: Progress) -> str:
            async def told(progress: float, total: float | None, message: str | None) -> None:
                say(message or (f"{name}: {progress:g} of {total:g}" if total else f"{name}: {progress:g}"))

            client = await self.client()
            try:
                result = await client.call_tool(name, arguments, progress_callback=told)
            except Exception as error:
                if getattr(error, "code", None) not in ALIVE:
                    self._lose()  # the next call starts it again
                raise
            text = "\n".join(getattr(part, "text", f"({part.type})") for part in result.content)
            if result.is_error:
                raise ValueError(text)
            return text

        return call


@cache
def certificates() -> ssl.SSLContext:
    """For every HTTP client here; read once, since it takes 40 ms, in which no tick moves."""
    import httpx2

    return httpx2.create_ssl_context()


@asynccontextmanager
async def _client(server: McpServer) -> AsyncIterator[Client]:
    import httpx2
    from mcp import Client, StdioServerParameters
    from mcp.client.streamable_http import streamable_http_client

    expand = os.path.expandvars
    if server.command:
        env = {name: expand(value) for name, value in server.env.items()}
        args = [os.path.expanduser(arg) for arg in server.args]
        async with Client(StdioServerParameters(command=server.command, args=args, env=env)) as client:
            yield client
    else:
        headers = {name: expand(value) for name, value in server.headers.items()}
        async with (
            httpx2.AsyncClient(
                headers=headers, timeout=httpx2.Timeout(30, read=300), verify=certificates()
            ) as http,
            Client(streamable_http_client(server.url, http_client=http)) as client,
        ):
            yield client
