"""Runs commands in children forked after the imports, and breaks them where it is told to.

A line of JSON on stdin asks for one run; two lines answer it: the child's number, and how it
ended. Counted are the moments at which a run changes the file system: a file opened for
writing, written through `os.write` or flushed, a name made, changed or removed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

CHANGES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link"}
#: torch._dynamo: what Adam imports at its first step, for seconds
MODULES = (
    "dask.array", "numcodecs", "ome_zarr.writer", "tifffile", "torch", "torch._dynamo", "zarr",
    "fm2s_stack.cli.denoise", "fm2s_stack.cli.seal", "fm2s_stack.pipeline",
)  # fmt: skip
GROWS = {"open", "os.mkdir", "os.link", "os.write", "os.fsync"}


class Saboteur:
    """Counts the changes a process makes below a folder, and strikes at one of them."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.folder, self.at = asked["folder"], asked.get("at")
        self.fault = asked.get("fault", "kill")
        self.trace: list[str] = []
        self.unflushed: dict[str, int] = {}  # bytes of each file that are on the disk for sure
        self.lock = threading.RLock()
        self.off = False

    def install(self) -> None:
        self.fsync, self.write = os.fsync, os.write
        os.fsync, os.write = self._fsync, self._write
        sys.addaudithook(self._heard)

    def _heard(self, event: str, words: tuple[Any, ...]) -> None:
        if self.off or (event != "open" and event not in CHANGES) or not self._is_ours(words[0]):
            return
        path = self._whole(words[0])
        with self.lock:
            if event == "open":
                self._opened(path, words[2])
            else:
                self._change(event, path)
            if event == "os.rename":
                sure = self.unflushed.pop(path, None)
                self.unflushed.pop(self._whole(words[1]), None)
                if sure is not None:
                    self.unflushed[self._whole(words[1])] = sure

    def _opened(self, path: str, flags: int) -> None:
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        self._change("open", path)
        if flags & os.O_CREAT and path not in self.unflushed:
            keeps = Path(path).exists() and not flags & os.O_TRUNC
            self.unflushed[path] = Path(path).stat().st_size if keeps else 0

    def _fsync(self, handle: int) -> None:
        path = self._path(handle)
        with self.lock:
            if path is not None:
                self._change("os.fsync", path)
            self.fsync(handle)
            self.unflushed.pop(path or "", None)

    def _write(self, handle: int, data: bytes) -> int:
        path = self._path(handle)
        if path is not None:
            self._change("os.write", path)
        return self.write(handle, data)

    def _path(self, handle: int) -> str | None:
        try:
            path = str(Path(f"/proc/self/fd/{handle}").readlink())
        except OSError:
            return None
        return path if self._is_ours(path) else None

    def _whole(self, path: str | bytes | os.PathLike) -> str:
        return str(Path(self.folder, os.fsdecode(path)))

    def _is_ours(self, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        named = os.fsdecode(path)
        # Names below an open folder, as shutil.rmtree removes them, are not absolute.
        return named.startswith(self.folder) or not Path(named).is_absolute()

    def _change(self, event: str, path: str) -> None:
        with self.lock:
            self.trace.append(f"{event} {os.path.relpath(path, self.folder)}")
            if self.at is None or len(self.trace) < self.at or self.off:
                return
            if self.fault == "full":
                if event in GROWS:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
                return
            if self.fault.startswith("SIG"):
                self.at = None
                os.kill(os.getpid(), getattr(signal, self.fault))
                return
            if self.fault.startswith("remove "):
                self.at = None
                shutil.rmtree(Path(self.folder, self.fault.removeprefix("remove ")))
                return
            if self.fault == "power":
                self._lose_unflushed()
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()

    def _lose_unflushed(self) -> None:
        """Half of what was written but not flushed is there after a power cut."""
        self.off = True
        for path, sure in self.unflushed.items():
            if Path(path).is_file():
                os.truncate(path, (sure + Path(path).stat().st_size) // 2)


def _child(asked: dict[str, Any]) -> int:
    os.setpgid(0, 0)
    for handle, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(file, handle)
    os.chdir(asked["folder"])
    if "umask" in asked:
        os.umask(asked["umask"])
    if "largest_file" in asked:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["largest_file"],) * 2)
    saboteur = Saboteur(asked)
    saboteur.install()
    from fm2s_stack.cli.main import main

    try:
        main(asked["words"])
        return 0
    except SystemExit as exited:
        return exited.code if isinstance(exited.code, int) else 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 99
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        saboteur.off = True
        Path(asked["trace"]).write_text("\n".join(saboteur.trace), encoding="utf-8")


def _import_all() -> None:
    for name in MODULES:
        import_module(name)
    assert threading.active_count() == 1  # a fork leaves the others behind


def main() -> None:
    """Serve until stdin ends."""
    _import_all()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    fcntl.fcntl(answers.fileno(), fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    answers.write("ready\n")
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if child == 0:
            code = _child(json.loads(line))
            os._exit(code)
        answers.write(f"{child}\n")
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")


if __name__ == "__main__":
    main()
