"""A storage host for the benchmarks: blocking threads, because those send files at the least cost.

    python -m benchmarks.file_server [--rate 125000000] [--certificate server.pem]

`GET /files/<bytes>/<name>` is answered with so many bytes. It prints its address, and its CPU seconds at `GET /cpu`.
"""

import argparse
import os
import resource
import socket
import ssl
import sys
import threading
import time
from itertools import count

PIECE = 2**18
SMALL_PIECE = 2**16
_TOKEN_TIME = 0.005


class Link:
    """A link of limited speed that all connections share."""

    def __init__(self, rate: float) -> None:
        """Set the limit in bytes a second, 0 for none."""
        self.piece = SMALL_PIECE if rate else PIECE
        self._rate = rate
        self._free_at = 0.0
        self._lock = threading.Lock()

    def wait_for(self, size: int) -> None:
        """Wait until this number of bytes may be sent."""
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - _TOKEN_TIME) + size / self._rate
            wait = self._free_at - now
        if wait > 0:
            time.sleep(wait)


def serve(connection: socket.socket, link: Link, data: memoryview) -> None:
    """Answer the requests of one connection."""
    with connection:
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                received = connection.recv(PIECE)
                if not received:
                    return
                buffer += received
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            target = head.split(b" ", 2)[1].decode().partition("?")[0].split("/")
            if target[1] == "files":
                send_file(connection, link, data, int(target[2]), target[3])
            else:
                usage = resource.getrusage(resource.RUSAGE_SELF)
                cpu = str(usage.ru_utime + usage.ru_stime).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: " + str(len(cpu)).encode() + b"\r\n\r\n" + cpu)


def send_file(connection: socket.socket, link: Link, data: memoryview, size: int, name: str) -> None:
    """Send a file that is the same every time."""
    head = (
        f'HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nETag: "{size}-{name}"\r\nAccept-Ranges: bytes\r\n'
        "Content-Type: image/tiff\r\n\r\n"
    )
    connection.sendall(head.encode())
    for start in range(0, size, link.piece):
        piece = data[: min(link.piece, size - start)]
        link.wait_for(len(piece))
        connection.sendall(piece)


def main() -> None:
    """Read the command line and serve until standard input is closed."""
    parser = argparse.ArgumentParser(description="Serve files fast.")
    parser.add_argument("--rate", type=float, default=0.0, help="bytes a second over all connections, 0 for no limit")
    parser.add_argument(
        "--certificate", default="", help="PEM file with key and certificate; without it there is no TLS"
    )
    options = parser.parse_args()
    link, data = Link(options.rate), memoryview(os.urandom(PIECE))
    context = None
    if options.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(f"{'https' if context else 'http'}://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    for _ in count():
        accepted, _ = listener.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=attend, args=(accepted, context, link, data), daemon=True).start()


def attend(accepted: socket.socket, context: ssl.SSLContext | None, link: Link, data: memoryview) -> None:
    """Serve one connection, which the client may close at any time."""
    try:
        serve(context.wrap_socket(accepted, server_side=True) if context else accepted, link, data)
    except OSError:
        accepted.close()


if __name__ == "__main__":
    main()
