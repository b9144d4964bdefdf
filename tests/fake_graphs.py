"""A stand-in for CUDA graphs on the CPU: it records the operations and repeats them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class FakeGraph:
    """Repeats operations on the very tensors that they were recorded with."""

    def __init__(self) -> None:
        self.recorded: list[tuple] = []
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        with torch.no_grad():
            for operation, args, options, results in self.recorded:
                again = tree_flatten(operation(*args, **options))[0]
                for old, new in zip(results, again, strict=True):
                    if isinstance(old, torch.Tensor) and old is not new:
                        old.detach().copy_(new)


class Recorder(TorchDispatchMode):
    """Notes what is done, with the tensors it is done to."""

    def __init__(self, graph: FakeGraph) -> None:
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        options = kwargs or {}
        result = operation(*args, **options)
        if operation.namespace != "profiler":
            self.graph.recorded.append((operation, args, options, tree_flatten(result)[0]))
        return result


class FakeStream:
    def wait_stream(self, other: FakeStream) -> None:
        pass

    def synchronize(self) -> None:
        pass


class FakeCuda:
    """What was captured, in order, and what the next capture shall fail with."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.graphs: list[FakeGraph] = []
        self.failure: Exception | None = None
        for name, fake in {
            "CUDAGraph": FakeGraph,
            "graph": self.capture,
            "Stream": FakeStream,
            "current_stream": lambda device=None: FakeStream(),
            "stream": lambda stream: nullcontext(),
            "device": lambda device: nullcontext(),
        }.items():
            patch.setattr(torch.cuda, name, fake)

    @contextmanager
    def capture(self, graph: FakeGraph, **options: object) -> Iterator[None]:
        assert options["capture_error_mode"] == "thread_local"
        with Recorder(graph):
            yield
            if self.failure is not None:
                raise self.failure
        self.graphs.append(graph)
