"""Serves a report that renews itself: one page and its version, to GET requests alone."""

from __future__ import annotations

import errno
import json
import socket
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from toolkit.errors import RunError, ToolkitError
from toolkit.report.live.access import COOKIE, Access
from toolkit.report.live.renewal import Renewal

LOCAL = '127.0.0.1'
PORT = 8642
_HEADERS = {
    'Cache-Control': 'no-store',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Cross-Origin-Resource-Policy': 'same-origin',
}


class ReportServer(ThreadingHTTPServer):
    """Server of one report; it reads no file that a request names.

    Args:
        renewal: of the report.
        host: name or address to listen at.
        port: to listen at; 0 for a free one.
    Raises:
        RunError: the port is taken, or the host is none of this computer.
    """

    daemon_threads = True

    def __init__(self, renewal: Renewal, host: str = LOCAL, port: int = PORT) -> None:
        self.renewal = renewal
        self.access = Access.for_host(host)
        try:
            self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            super().__init__((host, port), _Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise RunError(f'port {port} of {host} is taken; choose another --port') from error
            raise RunError(f'cannot serve at {host}, port {port}: {error.strerror}') from error

    @property
    def url(self) -> str:
        """The address for a browser, with the token if one is needed."""
        host = f'[{self.access.host}]' if ':' in self.access.host else self.access.host
        token = f'?token={self.access.token}' if self.access.token else ''
        return f'http://{host}:{self.server_address[1]}/{token}'

    def server_bind(self) -> None:
        """Binds without asking a name server for the name of this computer."""
        super(ThreadingHTTPServer, self).server_bind()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says in a line what went wrong with a request; a reader who left is no error."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            print(f'a request failed: {error!r}', file=sys.stderr)


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    timeout = 10  # seconds that a request may take to arrive
    server_version, sys_version = 'Ablakit', ''
    protocol_version = 'HTTP/1.1'

    def parse_request(self) -> bool:
        """Reads a request, and refuses methods and hosts that are not served."""
        if not super().parse_request():
            return False
        self.close_connection = True
        if self.command != 'GET':
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, 'only GET is served', {'Allow': 'GET'})
        elif not self.server.access.allows_name(self.headers.get('Host')):
            self._refuse(HTTPStatus.FORBIDDEN, 'this server has another name')
        else:
            return True
        return False

    def do_GET(self) -> None:
        """Answers with the page, or with its version."""
        try:
            parts = urlsplit(self.path)
        except ValueError:
            return self._refuse(HTTPStatus.BAD_REQUEST, 'no address')
        if not self.server.access.allows_reader(parts.query, self.headers.get('Cookie')):
            return self._refuse(HTTPStatus.FORBIDDEN, 'give the token that the command has printed')
        edition = self.server.renewal.edition
        if parts.path == '/version':
            answer = {'version': edition.version, 'error': edition.error}
            return self._answer(HTTPStatus.OK, 'application/json', json.dumps(answer).encode())
        if parts.path != '/':
            return self._refuse(HTTPStatus.NOT_FOUND, 'nothing else is served')
        if 'token=' in parts.query and self.server.access.token:
            # Not left in the address line, from where it would be copied and kept.
            cookie = f'{COOKIE}={self.server.access.token}; HttpOnly; SameSite=Lax; Path=/'
            headers = {'Location': '/', 'Set-Cookie': cookie}
            return self._answer(HTTPStatus.SEE_OTHER, 'text/plain', b'', headers)
        return self._answer(HTTPStatus.OK, 'text/html; charset=utf-8', edition.page)

    def _refuse(self, status: HTTPStatus, why: str, headers: dict[str, str] | None = None) -> None:
        self._answer(status, 'text/plain', f'{why}\n'.encode(), headers)

    def _answer(
        self, status: HTTPStatus, kind: str, content: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        sent = {'Content-Type': kind, 'Content-Length': str(len(content)), 'Connection': 'close'}
        for name, value in (_HEADERS | sent | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: requests come every few seconds."""


def serve(renewal: Renewal, host: str, port: int) -> None:
    """Serves a report until Ctrl-C.

    Raises:
        ToolkitError: the port is no port, or the folders cannot be reported.
        RunError: the port is taken, or the host is none of this computer.
    """
    if not 0 <= port <= 65535:
        raise ToolkitError(f'--port expects a number from 0 to 65535, found {port}')
    with ReportServer(renewal, host, port) as server:
        renewal.start()
        print(f'the report is at {server.url} and renews itself; Ctrl-C ends it', flush=True)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print()
        finally:
            renewal.stop()
