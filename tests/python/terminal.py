"""Runs a command on a terminal of its own: Ctrl-C once it has said `up`, SIGTERM once it has answered that.

What the command writes comes out on standard output, and its exit code is passed on.
"""

import os
import pty
import signal
import sys


def main() -> int:
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(sys.argv[1], sys.argv[1:])
    written = b""
    steps = [(b"up", lambda: os.write(terminal, b"\x03")), (b"int 1", lambda: os.kill(child, signal.SIGTERM))]
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # Linux says EIO once nobody has the terminal's other side any more.
            piece = b""
        if not piece:
            break
        written += piece
        if steps and steps[0][0] in written:
            steps.pop(0)[1]()
    _, status = os.waitpid(child, 0)
    sys.stdout.write(written.decode().replace("\r\n", "\n"))
    return os.waitstatus_to_exitcode(status)


sys.exit(main())
