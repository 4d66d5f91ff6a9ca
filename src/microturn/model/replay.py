"""One step's computation with fixed buffers: called directly on a CPU, captured once and replayed on CUDA.

A CUDA graph needs every tensor at the same address and no decision on the host. So inputs are copied into buffers
that belong to one batch size, and the core takes its `static` path: all rows see a frame (and forget it), pieces
are spelled to the end, memories are gathered. The CPU tests run that same path against the quick one.
Not measured: written without a GPU at hand.
"""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # runs before capture, so that libraries have chosen their kernels

Core = Callable[..., tuple[Tensor, ...]]


class Replay:
    """Runs `core` for one batch size. `idle` are inputs that change no session, for warming up."""

    def __init__(self, core: Core, idle: tuple[Tensor, ...], capture: bool) -> None:
        self._core = core
        self._inputs = tuple(t.clone() for t in idle)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: tuple[Tensor, ...] = ()
        if capture:
            self._capture()

    def _capture(self) -> None:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._core(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = self._core(*self._inputs)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        for buffer, fresh in zip(self._inputs, inputs, strict=True):
            buffer.copy_(fresh, non_blocking=True)
        if self._graph is None:
            return self._core(*self._inputs)
        self._graph.replay()
        return self._outputs
