"""A stage on the parser h11, which shares nothing with hyper: prints the port it listens on, then, as JSON, each request
that it read and each connection on which something came that was none.

    {"connection": 0, "method": "GET", "target": "/a", "headers": [["host", "x"]], "body": "…"}
    {"connection": 0, "error": "…"}

Bytes are written as the characters of the same numbers. Every request is reported before it is answered, with 200. Ends
with its standard input.
"""

import json
import socket
import sys
import threading

import h11

LOCK = threading.Lock()


def say(**what):
    with LOCK:
        print(json.dumps(what), flush=True)


def serve(number, peer):
    connection = h11.Connection(h11.SERVER)
    request, body = None, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = peer.recv(65536)
            if not data and connection.trailing_data[0]:
                raise h11.RemoteProtocolError("bytes were left over")
            connection.receive_data(data)
        elif isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            if list(event.headers):
                raise h11.RemoteProtocolError("trailers came")
            say(
                connection=number,
                method=request.method.decode("latin-1"),
                target=request.target.decode("latin-1"),
                headers=[[part.decode("latin-1") for part in field] for field in request.headers],
                body=body.decode("latin-1"),
            )
            head = request.method == b"HEAD"
            answer = h11.Response(status_code=200, headers=[("content-length", "2")])
            peer.sendall(connection.send(answer))
            if not head:
                peer.sendall(connection.send(h11.Data(data=b"ok")))
            peer.sendall(connection.send(h11.EndOfMessage()))
            if connection.our_state is h11.MUST_CLOSE:
                return
            connection.start_next_cycle()
        elif isinstance(event, h11.ConnectionClosed):
            return


def accepted(number, peer):
    with peer:
        try:
            serve(number, peer)
        except h11.RemoteProtocolError as error:
            say(connection=number, error=str(error))
        except ConnectionError:
            pass  # The proxy may drop a connection that it keeps in any way.


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def accept():
        for number in range(sys.maxsize):
            peer, _ = listener.accept()
            threading.Thread(target=accepted, args=(number, peer), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


main()
