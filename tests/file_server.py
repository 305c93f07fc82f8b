"""A local HTTP server of files, and a network that has no other hosts."""

import http.server
import threading
from contextlib import contextmanager

from lls.data.download import fetch


def block_network(monkeypatch):
    """Let requests to all hosts but 127.0.0.1 fail, and downloads retry twice without delay."""
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")  # nothing listens on this port
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch, "RETRY_DELAYS_SECONDS", (0, 0))


@contextmanager
def serve_files(folder, ranges=True, response_sizes=()):
    """Serve the files in `folder`. Yields the server's URL and the list of requests, as (path, Range header).

    ranges: whether the server supports the Range header.
    response_sizes: the i-th response breaks off after response_sizes[i] bytes of its body."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append((self.path, self.headers.get("Range")))
            size = response_sizes[len(requests) - 1] if len(requests) <= len(response_sizes) else None
            file = folder / self.path.lstrip("/")
            if not file.is_file():
                self.send_error(404)
                return
            content, start = file.read_bytes(), 0
            if ranges and self.headers.get("Range"):
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:][:size])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()


def visible_files(folder):
    """Return the paths below a folder that a later call may read: all but locks."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.name.endswith(".lock")}
