"""Become another program that is killed when its starter dies: `launch.py STARTER-PID COMMAND…`, run as a script.

It asks the kernel for the signal (prctl(2), PR_SET_PDEATHSIG), which holds across exec, and gives up if the starter died
before it could. A program of its own, because to run Python between fork and exec is not safe in a process with gRPC's threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    starter, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != starter:
        sys.exit(1)
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")
