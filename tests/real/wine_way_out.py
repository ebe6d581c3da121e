r"""Runs on the Windows inside: a stand-in for the API, and a proxy that leads every host to it.

python wine_way_out.py FOLDER   writes FOLDER\api-ca.pem, and says the three ports: of the API over TLS and without,
                                and of the proxy; then each request and each host that the proxy is asked for
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from real.proxies import api


class _Proxy(socketserver.StreamRequestHandler):
    port = 0

    def handle(self) -> None:
        method, host, _ = self.rfile.readline().decode().split(" ", 2)
        while self.rfile.readline().strip():
            pass
        print(f"{method} {host}", flush=True)
        if method != "CONNECT":
            self.wfile.write(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", self.port)) as other:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pass, args=(other, self.connection), daemon=True)
            back.start()
            _pass(self.connection, other)
            back.join()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with api(folder) as secured, api(folder, secure=False) as plain:
        _Proxy.port = secured.port
        socketserver.ThreadingTCPServer.daemon_threads = True
        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Proxy) as proxy:
            threading.Thread(target=proxy.serve_forever, daemon=True).start()
            print(json.dumps({"api": secured.port, "plain": plain.port, "proxy": proxy.server_address[1]}), flush=True)
            said = 0
            while True:
                log = [*secured.log, *plain.log]
                for each in log[said:]:
                    print(f"{each.method} {each.path}", flush=True)
                said = len(log)
                time.sleep(0.05)


if __name__ == "__main__":
    main()
