"""CUDA's part in a plan, pretended: of streams, events, pools and devices the calls are noted."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace


class Stream:
    """CUDA's part in a capture; one that was broken off fails at its end as well."""

    def __init__(self, broken):
        self.log, self.broken = [], broken

    def begin_capture(self):
        self.log.append("begin")

    def end_capture(self):
        self.log.append("end")
        if self.broken:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")
        return self

    def upload(self, stream):
        self.log.append("upload")


class Memory:
    """Of a device, so many bytes."""

    __slots__ = ("size",)

    def __init__(self, size):
        self.size = size


class Noting:
    """CUDA's streams, events, pools and devices, of which only the order of calls is real."""

    def __init__(self):
        self.log, self.current = [], None
        noting = self

        class Queue:
            def __init__(self, name):
                self.name = name

            def record(self, event):
                noting.log.append(f"{self.name} records {event}")
                return event

            def wait_event(self, event):
                noting.log.append(f"{self.name} waits for {event}")

            def __enter__(self):
                self.before, noting.current = noting.current, self

            def __exit__(self, *error):
                noting.current = self.before

        self.current, self.another = Queue("outside"), Queue("another")
        self.made, self.events = [], iter(("before", "after"))
        self.cuda = SimpleNamespace(
            Stream=lambda non_blocking: Queue("own"),
            MemoryPool=lambda allocator: SimpleNamespace(
                malloc="the private pool", free_all_blocks=lambda: self.log.append("pool freed"),
                allocator=allocator),
            Memory=Memory, MemoryPointer=lambda block, offset: block,
            Event=lambda disable_timing: next(self.events, "another"),
            get_current_stream=lambda: self.current, using_allocator=self.using,
        )  # fmt: skip
        self.allocator = "the usual pool"

    @contextmanager
    def using(self, allocator):
        before, self.allocator = self.allocator, allocator
        try:
            yield
        finally:
            self.allocator = before

    def __enter__(self):
        self.log.append("the device")

    def __exit__(self, *error):
        self.log.append("left")

    def empty(self, shape, dtype):
        return self.allocator, self.current.name, shape, dtype
