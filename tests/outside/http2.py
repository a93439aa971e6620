"""HTTP/2 by hand: frames that no gRPC library would send."""

import re
import socket
import threading

from unetd_process import PATIENCE

INFER = "/inference.GRPCInferenceService/ModelInfer"

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
CANCEL = (8).to_bytes(4, "big")
# Settings: how much the server may write on a call before it must wait.
INITIAL_WINDOW_SIZE = b"\0\4"
NO_WINDOW = INITIAL_WINDOW_SIZE + bytes(4)
LARGE_WINDOW = INITIAL_WINDOW_SIZE + b"\x7f\xff\xff\xff"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    """A header in HPACK, neither indexed nor compressed."""
    sizes = [bytes([len(part)]) if len(part) < 127 else b"\x7f" + _varint(len(part) - 127) for part in (name, value)]
    return b"\0" + sizes[0] + name + sizes[1] + value


def _varint(number):
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def message(payload, compressed=False, size=None):
    """gRPC's frame around a message; `size` is a lie about its length."""
    return bytes([compressed]) + (len(payload) if size is None else size).to_bytes(4, "big") + payload


class Window:
    """What the server has said it takes, of the connection (0) and of each call."""

    def __init__(self):
        self._initial = 65535  # RFC 9113, 6.9.2
        self._left = {0: self._initial}

    def heard(self, kind, flags, stream, payload):
        if kind == WINDOW_UPDATE:
            self._left[stream] = self._left.get(stream, self._initial) + int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags:
            for at in range(0, len(payload), 6):
                if payload[at : at + 2] == INITIAL_WINDOW_SIZE:
                    self._restart(int.from_bytes(payload[at + 2 : at + 6], "big"))

    def take(self, stream, wanted):
        """How many of `wanted` bytes may go now."""
        bytes_now = max(0, min(wanted, self._left[0], self._left.setdefault(stream, self._initial), 16384))
        self._left[0] -= bytes_now
        self._left[stream] -= bytes_now
        return bytes_now

    def _restart(self, initial):
        for stream in self._left.keys() - {0}:
            self._left[stream] += initial - self._initial
        self._initial = initial


class Connection:
    """One connection; what the server says is collected."""

    def __init__(self, server, settings=LARGE_WINDOW):
        host, port = server.address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.got = b""
        self._heard = 0  # how much of it lies in whole frames
        self._window = Window()
        self._more = threading.Condition()
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, settings))
        self.send(frame(WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4, "big")))  # of the connection
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        """Returns whether the server still takes it."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            return False

    def call(self, path=INFER, *headers, stream=1, data=None, flags=END_STREAM):
        """Begins a call; with `data`, its first and by `flags` its last DATA frame."""
        base = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"x")]
        base += [(b"te", b"trailers"), (b"content-type", b"application/grpc")]
        sent = frame(HEADERS, END_HEADERS, stream, b"".join(literal(*pair) for pair in [*base, *headers]))
        if data is not None:
            sent += frame(DATA, flags, stream, data)
        return self.send(sent)

    def body(self, stream, data):
        """The whole of a call's data, as fast as the server's windows let it go."""
        sent = 0
        while sent < len(data):
            with self._more:
                count = self._more.wait_for(lambda: self._window.take(stream, len(data) - sent), PATIENCE)
            assert count, f"the server took {sent} of {len(data)} bytes"
            last = sent + count == len(data)
            self.send(frame(DATA, END_STREAM if last else 0, stream, data[sent : sent + count]))
            sent += count

    def status(self):
        """grpc-status of the first call that ends on this connection, as a number."""
        found = lambda: re.search(rb"grpc-status[\x01\x02](\d+)", self.got)
        with self._more:
            assert self._more.wait_for(found, PATIENCE), self.got
        return int(found().group(1))

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the server was first
        self.socket.close()
        self._reader.join()

    def _read(self):
        try:
            while piece := self.socket.recv(65536):
                with self._more:
                    self.got += piece
                    self._hear()
                    self._more.notify_all()
        except OSError:
            pass

    def _hear(self):
        while len(self.got) - self._heard >= 9:
            head = self.got[self._heard : self._heard + 9]
            end = self._heard + 9 + int.from_bytes(head[:3], "big")
            if len(self.got) < end:
                return
            self._window.heard(head[3], head[4], int.from_bytes(head[5:], "big"), self.got[self._heard + 9 : end])
            self._heard = end


def status_of(server, path, *headers, data=b""):
    """The status of one call of one frame."""
    with Connection(server) as connection:
        connection.call(path, *headers, data=data)
        return connection.status()
