"""What the machine is asked: processes, sockets, users, programs, by the kernel's own account."""
