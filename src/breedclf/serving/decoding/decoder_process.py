"""`python -m breedclf.serving.decoding.decoder_process`: decodes slow images in a process that can be killed.

Unlike a thread, a process can be interrupted: it sets an alarm before each image, which the kernel enforces. The
process exits when the server closes its end of the connection.
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
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch

from breedclf.data.preprocessing import Preprocessing
from breedclf.serving.core import Limits, RequestError

log: logging.Logger = logging.getLogger(__name__)

NetworkInput = Callable[[bytes, Preprocessing, Limits], torch.Tensor]

_DONE, _REFUSED, _READY = b"d", b"r", b"s"
_START_SECONDS = 60.0
_NICENESS = 5  # lower priority than quick images
_MODULE = "breedclf.serving.decoding.decoder_process"


class DecoderProcess:
    """A process that decodes one image at a time; it is started on demand, and restarted after it was killed.

    Args:
        preprocessing: how images are converted to inputs.
        limits: the limits of an image.
        seconds: time limit per image.
    """

    def __init__(self, preprocessing: Preprocessing, limits: Limits, *, seconds: float) -> None:
        self._preprocessing = preprocessing
        self._limits = limits
        self._seconds = seconds
        self._running: tuple[subprocess.Popen[bytes], Connection] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def decode(self, image: bytes) -> torch.Tensor:
        """Decode an image to the network's input, uint8 [3, crop, crop]; call it from one thread at a time.

        Raises:
            RequestError: the decoder's error, or 422 if it took too long.
        """
        connection = self._connection()
        try:
            connection.send_bytes(image)
            answer = connection.recv_bytes()
        except (OSError, EOFError):
            self.end()
            log.warning("decoding of an image was stopped after %g s, and its process killed", self._seconds)
            raise RequestError(
                422,
                "TooCostly",
                f"the image couldn't be decoded within {self._seconds:g} s and the available memory; make it smaller, "
                "or save it again with another program",
            ) from None
        if answer[:1] == _REFUSED:
            raise RequestError(**json.loads(answer[1:]))
        crop = self._preprocessing.crop_px
        return torch.frombuffer(bytearray(answer[1:]), dtype=torch.uint8).view(3, crop, crop)

    @property
    def pid(self) -> int | None:
        """The process id, if the process is running."""
        return None if self._running is None else self._running[0].pid

    def end(self, *, for_good: bool = False) -> None:
        """Kill the process."""
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
            self.end()  # it died between two images
        if self._running is None:
            ours, theirs = socket.socketpair()
            with theirs:
                settings = {
                    "preprocessing": self._preprocessing.model_dump(mode="json"),
                    "limits": vars(self._limits),
                    "seconds": self._seconds,
                }
                command = [sys.executable, "-m", _MODULE, str(theirs.fileno()), json.dumps(settings)]
                process = subprocess.Popen(
                    command,
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    process_group=0,  # only the server handles Ctrl-C, and finishes its requests
                )
            connection = Connection(ours.detach())
            with self._lock:
                self._running = process, connection
                closed = self._closed
            if closed or not self._is_ready(connection):
                self.end()
                raise RequestError(500, "InternalError", "internal error; see the server's log")
        return self._running[1]

    def _is_ready(self, connection: Connection) -> bool:
        with contextlib.suppress(OSError, EOFError):
            return connection.poll(_START_SECONDS) and connection.recv_bytes() == _READY
        return False


def main() -> None:
    """Decode images until the connection is closed."""
    from breedclf.serving.decoding.inputs import network_input

    connection, settings = Connection(int(sys.argv[1])), json.loads(sys.argv[2])
    preprocessing, limits = Preprocessing(**settings["preprocessing"]), Limits(**settings["limits"])
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.nice(_NICENESS)
    torch.set_num_threads(1)
    with contextlib.suppress(OSError, EOFError):
        connection.send_bytes(_READY)
        while True:
            image = connection.recv_bytes()
            signal.setitimer(signal.ITIMER_REAL, settings["seconds"])
            response = _response(image, network_input, preprocessing, limits)
            signal.setitimer(signal.ITIMER_REAL, 0)
            connection.send_bytes(response)


def _response(image: bytes, network_input: NetworkInput, preprocessing: Preprocessing, limits: Limits) -> bytes:
    try:
        return _DONE + bytes(network_input(image, preprocessing, limits).numpy())
    except RequestError as error:
        return _REFUSED + json.dumps({"status": error.status, "code": error.code, "message": str(error)}).encode()


if __name__ == "__main__":
    main()
