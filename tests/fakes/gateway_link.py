"""A TCP link that can be cut: between a gateway and its broker, so that neither has to be restarted."""

import socket
import threading


class Link:
    """Forwards connections to a port on this machine until it is cut, and again once it is mended."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.target_port = 0
        self._whole = True
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection and accept no other."""
        self._whole = False
        ends, self._ends = self._ends, []
        for end in ends:
            self._break(end)

    def mend(self) -> None:
        """Let connections through again."""
        self._whole = True

    def stop(self) -> None:
        """Cut, for good."""
        self.cut()
        self._listener.close()

    @staticmethod
    def _break(end: socket.socket) -> None:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                if not self._whole:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.target_port), timeout=5)
            except OSError:
                if self._listener.fileno() < 0:
                    return
                continue
            far.settimeout(None)
            self._ends += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            self._break(end)
