"""Runs a command on a terminal of its own, as a person would, and gives what it shows there to standard output.

    on_terminal.py COMMAND ARGUMENT...

What comes on standard input is typed there. SIGTERM goes on to the command; the exit code is the command's.
"""

import os
import pty
import select
import signal
import sys

child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
sources = [terminal, 0]
while True:
    ready, _, _ = select.select(sources, [], [])
    if 0 in ready:
        typed = os.read(0, 1 << 16)
        if typed:
            os.write(terminal, typed)
        else:
            sources.remove(0)
    if terminal not in ready:
        continue
    try:
        shown = os.read(terminal, 1 << 16)
    except OSError:
        break  # Linux says EIO when nobody has the other end any more.
    if not shown:
        break
    os.write(1, shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
