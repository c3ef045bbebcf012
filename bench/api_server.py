"""The local API of bench/extraction.py: a file of JSON records, one in each line, in pages that are rendered once.

    python bench/api_server.py FILE ROWS_PER_PAGE     # prints its port

`GET /payments?page=1` answers `{"data": […], "page": 1, "pages": N, "total": rows}`.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


def pages_of(file: Path, rows_per_page: int) -> list[bytes]:
    """Render all pages."""
    rows = file.read_bytes().splitlines()
    parts = [rows[start : start + rows_per_page] for start in range(0, len(rows), rows_per_page)]
    form = b'{"data": [%b], "page": %d, "pages": %d, "total": %d}'
    return [form % (b",".join(part), number, len(parts), len(rows)) for number, part in enumerate(parts, 1)]


class Handler(BaseHTTPRequestHandler):
    """Answers with a page; connections are kept."""

    protocol_version = "HTTP/1.1"
    pages: list[bytes]

    def do_GET(self) -> None:
        """Send one page."""
        number = int(parse_qs(urlsplit(self.path).query).get("page", ["1"])[0])
        found = 0 < number <= len(self.pages)
        body = self.pages[number - 1] if found else b"{}"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


if __name__ == "__main__":
    Handler.pages = pages_of(Path(sys.argv[1]), int(sys.argv[2]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
