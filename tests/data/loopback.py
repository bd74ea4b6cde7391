"""Serve scripted answers from a real HTTP server on loopback."""

import hashlib
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from siamese_lab.data.io.download import Remote


class Server:
    """Serves scripted answers on loopback, and records the requested paths.

    An answer is bytes, a status, or a function that receives the request's handler.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[bytes | int | Callable[[BaseHTTPRequestHandler], None]]] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                answers = outer.answers.get(self.path, [404])
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                if isinstance(answer, int):
                    self.send_error(answer)
                elif isinstance(answer, bytes):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                else:
                    answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}{path}"

    def remote(self, name: str, content: bytes, *paths: str) -> Remote:
        digest = f"md5:{hashlib.md5(content).hexdigest()}"
        return Remote(name, tuple(self.url(path) for path in paths), digest, len(content))


def cut(content: bytes, after: int) -> Callable[[BaseHTTPRequestHandler], None]:
    """Announce the full length, send a part, and close the connection."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:after])

    return answer


def stall(content: bytes, after: int, seconds: float) -> Callable[[BaseHTTPRequestHandler], None]:
    """Send a part, wait, and send the rest."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        cut(content, after)(handler)
        handler.wfile.flush()
        time.sleep(seconds)
        handler.wfile.write(content[after:])

    return answer


def drip(content: bytes, pause: float, where: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Send single bytes with pauses, in `where`: the status line, the headers or the content. It would take hours."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        start = {"status": b"HTTP/1.1 ", "headers": b"HTTP/1.1 200 OK\r\nX: ", "content": b"HTTP/1.1 200 OK\r\n\r\n"}
        try:
            handler.wfile.write(start[where])
            for byte in content:
                handler.wfile.write(bytes([byte % 10 + ord("0")]))
                time.sleep(pause)
        except OSError:
            pass  # the client has left

    return answer


def endless(start: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Send the start of an answer, and then more content until the client disconnects."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        try:
            handler.wfile.write(start)
            while True:
                handler.wfile.write(bytes(1 << 16))
        except OSError:
            pass  # the client has left

    return answer
