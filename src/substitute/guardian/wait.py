"""Waits until a deployer lets go of its lock, and settles what it left.

Run as a file, without substitute's own imports: it costs little, and most often it is ended unused by the
deployer that started it. If that one dies first, the kernel gives the lock away, and this wakes up.

With a time other than 0, in seconds since the epoch, it sleeps until then first.

    python -I -S wait.py LOCK TIME COMMAND...
"""

import fcntl
import os
import sys
import time

_LOOK = 60.0
"""Seconds after which the clock is asked again: it may have been set."""

if __name__ == "__main__":
    while (left := float(sys.argv[2]) - time.time()) > 0:
        time.sleep(min(left, _LOOK))
    descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.close(descriptor)  # `recovery` takes it for itself, and lets a user's own command go first
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606
