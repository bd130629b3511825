"""The pass over a chunk once the window is full, on memory that stays where it is, so that it can be recorded.

From the third chunk on every pass does the same to tensors of the same shapes; only the numbers in its inputs and
the slots they go to differ. With those in buffers of their own the pass is one fixed program: on CUDA it is recorded
once and then launched as a whole, which spares the launch of some forty kernels for each layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Program = Callable[[], Tensor]
Record = Callable[[Program], Program]
"""Turns a program that may be run any number of times into one that does the same faster."""

WARM_UP_RUNS = 2


class SteadyPass:
    """``run`` on copies of its inputs that never move, recorded at the first call."""

    def __init__(self, run: Callable[[Sequence[Tensor]], Tensor], record: Record) -> None:
        self._run, self._record = run, record
        self._inputs: list[Tensor] = []
        self._program: Program | None = None

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        """``run(inputs)``, which must depend on nothing else; shapes and types are those of the first call."""
        if self._program is None:
            self._inputs = [tensor.clone() for tensor in inputs]
            self._program = self._record(lambda: self._run(self._inputs))
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        return self._program().clone()


def as_it_is(program: Program) -> Program:
    """No recording: every call runs the program anew. What devices without graphs do."""
    return program


def cuda_graph(program: Program) -> Program:
    """The program as a CUDA graph. Its tensors keep their memory as long as the graph lives."""
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # libraries choose their kernels and take their workspaces before recording
        for _ in range(WARM_UP_RUNS):
            program()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # Other threads may use the device meanwhile: faces are searched for in one of them.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        out = program()

    def replay() -> Tensor:
        graph.replay()
        return out

    return replay
