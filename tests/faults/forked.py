"""Worlds of forked processes over sockets: they start in milliseconds, so that a test can kill hundreds of them.

Whatever is imported before stays imported. A rank that finds another one gone ends, as mpirun would end it.
"""

from __future__ import annotations

import mmap
import os
import pickle
import select
import socket
import struct
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from protmpi.errors import ProtmpiError

ALONE = 70  # exit status of a rank whose peer is gone
CRASHED = 71  # of one that let an exception through


class ForkedRanks:
    """Every rank has a socket to every other one."""

    library = "forked processes"

    def __init__(self, rank: int, peers: dict[int, socket.socket], shouted: mmap.mmap) -> None:
        self.rank, self.size, self._peers, self._shouted = rank, len(peers) + 1, peers, shouted
        self.at: Callable[[str], None] = lambda moment: None
        """Told of the moments of every collective: before, sent, after."""

    def allgather(self, item: Any) -> list[Any]:
        self.at("before a collective")
        packed, items = pickle.dumps(item), {self.rank: item}
        for peer, connection in sorted(self._peers.items()):
            if self.rank < peer:  # one of two speaks first: neither waits for the other's buffer to empty
                _send(connection, packed)
            items[peer] = pickle.loads(_receive(connection))
            if self.rank > peer:
                _send(connection, packed)
            self.at("within a collective")
        self.at("after a collective")
        return [items[rank] for rank in range(self.size)]

    def maximum(self, array: np.ndarray) -> np.ndarray:
        return np.asarray(np.max(self.allgather(array), axis=0))

    def barrier(self) -> None:
        self.allgather(None)

    def meet(self, meanwhile: Callable[[], object]) -> None:
        self.at("before a collective")
        for _, connection in sorted(self._peers.items()):
            _send(connection, b"here")
        for _, connection in sorted(self._peers.items()):
            while not select.select([connection], [], [], 0.001)[0]:
                meanwhile()
            _receive(connection)
        self.at("after a collective")

    def shout(self) -> None:
        self._shouted[0] = 1

    def heard(self) -> bool:
        return bool(self._shouted[0])

    def abort(self, status: int) -> None:
        os._exit(status)


def _send(connection: socket.socket, packed: bytes) -> None:
    try:
        connection.sendall(struct.pack("Q", len(packed)) + packed)
    except OSError:
        os._exit(ALONE)


def _receive(connection: socket.socket) -> bytes:
    def exactly(count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            try:
                part = connection.recv(count - len(parts))
            except OSError:
                part = b""
            if not part:
                os._exit(ALONE)
            parts += part
        return bytes(parts)

    return exactly(struct.unpack("Q", exactly(8))[0])


@dataclass
class Outcome:
    """How a rank ended: its exit status (minus the signal that killed it), what it returned, what it printed."""

    status: int
    value: Any
    printed: str


Program = Callable[[ForkedRanks], Any]


class Running:
    """A program on `ranks` forked processes."""

    def __init__(self, program: Program, ranks: int = 1) -> None:
        pairs = {(a, b): socket.socketpair() for a in range(ranks) for b in range(a + 1, ranks)}
        self._files = [tempfile.TemporaryFile() for _ in range(2 * ranks)]  # noqa: SIM115 - closed in `wait`
        sys.stdout.flush()
        sys.stderr.flush()
        self.pids = []
        shouted = mmap.mmap(-1, 1)
        for rank in range(ranks):
            pid = os.fork()
            if not pid:
                mine = {b if a == rank else a: ends[a != rank] for (a, b), ends in pairs.items() if rank in (a, b)}
                for ends in pairs.values():
                    for end in ends:
                        if end not in mine.values():
                            end.close()
                self._be(rank, mine, shouted, program)
            self.pids.append(pid)
        for ends in pairs.values():
            for end in ends:
                end.close()

    def _be(self, rank: int, peers: dict[int, socket.socket], shouted: mmap.mmap, program: Program) -> None:
        """The life of one rank."""
        printed, returned = self._files[2 * rank : 2 * rank + 2]
        status = CRASHED
        try:
            os.dup2(printed.fileno(), 1)
            os.dup2(printed.fileno(), 2)
            sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, closefd=False)
            pickle.dump(program(ForkedRanks(rank, peers, shouted)), returned)
            returned.flush()
            status = 0
        except ProtmpiError as error:
            print(f"error: {error}")
            status = error.status
        except SystemExit as error:
            status = int(error.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)

    def alive(self) -> bool:
        """Whether no rank has ended."""
        return all(os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None for pid in self.pids)

    def wait(self) -> list[Outcome]:
        outcomes = []
        for rank, pid in enumerate(self.pids):
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            printed, returned = self._files[2 * rank : 2 * rank + 2]
            printed.seek(0)
            returned.seek(0)
            content = returned.read()
            outcomes.append(Outcome(status, pickle.loads(content) if content else None, printed.read().decode()))
            printed.close()
            returned.close()
        return outcomes


def alone(program: Callable[[], Any]) -> Any:
    """What a program returns in a process of its own."""
    (outcome,) = Running(lambda world: program()).wait()
    assert outcome.status == 0, outcome.printed
    return outcome.value


class Files:
    """Counts the moments at which this process changes a file below `folder`, and ends at one of them: at a number, or
    at the first with a certain word in its name.

    Python tells an audit hook of every such call before it is made: none can be forgotten. A moment is a name like
    "os.rename energy/c/0/0"; opening for writing is two, before it and, as "torn ...", with part of the content
    written.
    """

    CALLS = ("os.rename", "os.link", "os.remove", "os.rmdir", "os.utime", "os.truncate", "shutil.rmtree")

    def __init__(self, folder: Path, end_at: int | str | None = None) -> None:
        self.folder, self.end_at = str(folder), end_at
        self.moments: list[str] = []
        self._busy, self._one = False, threading.Lock()  # the store is written by threads beside the main one
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._busy or (event != "open" and event not in self.CALLS):
            return
        path = os.fspath(arguments[0]) if isinstance(arguments[0], (str, os.PathLike)) else ""
        writes = event != "open" or (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if not path.startswith(self.folder) or not writes:
            return
        name = path.removeprefix(self.folder)
        self.moment(f"{event} {name}")
        if event == "open":
            self.moment(f"torn {name}", lambda: self._tear(path))

    def moment(self, name: str, last_act: Callable[[], None] = lambda: None) -> None:
        with self._one:
            self.moments.append(name)
            if self.end_at in name if isinstance(self.end_at, str) else self.end_at == len(self.moments):
                last_act()
                os.kill(os.getpid(), 9)

    def _tear(self, path: str) -> None:
        self._busy = True
        with open(path, "wb") as file:
            file.write(b'{"torn')
