"""Waits until a deployer lets go of its lock, and settles what it left.

Run as a file, without substitute's own imports: it costs little, and most often it is ended unused by the
deployer that started it. If that one dies first, the kernel gives the lock away, and this wakes up.

    python -I -S guardian.py LOCK COMMAND...
"""

import fcntl
import os
import sys

if __name__ == "__main__":
    descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.close(descriptor)  # `recovery` takes it for itself, and lets a user's own command go first
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606
