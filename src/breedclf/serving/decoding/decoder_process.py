"""`python -m breedclf.serving.decoding.decoder_process`: decodes slow images in a process that can be killed.

A decoder in a thread can't be interrupted, a process can: it sets itself an alarm before each image, which the kernel
keeps whatever the decoder does. It ends with the server, whose end of the connection it reads.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

import torch

from breedclf.data.preprocessing import Preprocessing
from breedclf.serving.core import Limits, RequestError

log: logging.Logger = logging.getLogger(__name__)

_DONE, _REFUSED, _READY = b"d", b"r", b"s"
_START_SECONDS = 60.0
_NICENESS = 5  # quick images go first
_MODULE = "breedclf.serving.decoding.decoder_process"


class DecoderProcess:
    """A process that decodes one image at a time, begun when it is first needed and again when it was ended.

    Args:
        preprocessing: how images become inputs.
        limits: what is taken.
        seconds: how long an image may take.
    """

    def __init__(self, preprocessing: Preprocessing, limits: Limits, *, seconds: float) -> None:
        self._preprocessing = preprocessing
        self._limits = limits
        self._seconds = seconds
        self._running: tuple[subprocess.Popen[bytes], Connection] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def decode(self, picture: bytes) -> torch.Tensor:
        """The image as the network's input, uint8 [3, crop, crop]; called from one thread at a time.

        Raises:
            RequestError: what the decoder refused, or 422 when it took too long.
        """
        connection = self._connection()
        try:
            connection.send_bytes(picture)
            answer = connection.recv_bytes()
        except (OSError, EOFError):
            self.end()
            log.warning("an image was given up after %g s, with the process that decoded it", self._seconds)
            raise RequestError(
                422,
                "TooCostly",
                f"the picture couldn't be decoded within {self._seconds:g} s and the memory there is; make it smaller, "
                "or save it again with an ordinary program",
            ) from None
        if answer[:1] == _REFUSED:
            raise RequestError(**json.loads(answer[1:]))
        crop = self._preprocessing.crop_px
        return torch.frombuffer(bytearray(answer[1:]), dtype=torch.uint8).view(3, crop, crop)

    @property
    def pid(self) -> int | None:
        """The process's number while there is one."""
        return None if self._running is None else self._running[0].pid

    def end(self, *, for_good: bool = False) -> None:
        """End the process, whatever it does."""
        with self._lock:
            self._closed = self._closed or for_good
            running, self._running = self._running, None
        if running is not None:
            process, connection = running
            process.kill()
            process.wait()
            connection.close()

    def _connection(self) -> Connection:
        if self._running is not None and self._running[0].poll() is not None:
            self.end()  # it died between two images, for which the next one isn't to blame
        if self._running is None:
            ours, theirs = socket.socketpair()
            with theirs:
                order = {
                    "preprocessing": self._preprocessing.model_dump(mode="json"),
                    "limits": vars(self._limits),
                    "seconds": self._seconds,
                }
                words = [sys.executable, "-m", _MODULE, str(theirs.fileno()), json.dumps(order)]
                process = subprocess.Popen(
                    words,
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    process_group=0,  # Ctrl-C is for the server, which answers what it took
                )
            connection = Connection(ours.detach())
            with self._lock:
                self._running = process, connection
                closed = self._closed
            if closed or not self._is_ready(connection):
                self.end()
                raise RequestError(500, "InternalError", "the server failed; its log tells why")
        return self._running[1]

    def _is_ready(self, connection: Connection) -> bool:
        with contextlib.suppress(OSError, EOFError):
            return connection.poll(_START_SECONDS) and connection.recv_bytes() == _READY
        return False


def main() -> None:
    """Decode what comes until the connection ends."""
    from breedclf.serving.decoding.inputs import network_input

    connection, order = Connection(int(sys.argv[1])), json.loads(sys.argv[2])
    preprocessing, limits = Preprocessing(**order["preprocessing"]), Limits(**order["limits"])
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.nice(_NICENESS)
    torch.set_num_threads(1)
    with contextlib.suppress(OSError, EOFError):
        connection.send_bytes(_READY)
        while True:
            picture = connection.recv_bytes()
            signal.setitimer(signal.ITIMER_REAL, order["seconds"])
            answer = _answer(picture, network_input, preprocessing, limits)
            signal.setitimer(signal.ITIMER_REAL, 0)
            connection.send_bytes(answer)


def _answer(picture: bytes, network_input: Any, preprocessing: Preprocessing, limits: Limits) -> bytes:
    try:
        return _DONE + bytes(network_input(picture, preprocessing, limits).numpy())
    except RequestError as error:
        return _REFUSED + json.dumps({"status": error.status, "code": error.code, "message": str(error)}).encode()


if __name__ == "__main__":
    main()
