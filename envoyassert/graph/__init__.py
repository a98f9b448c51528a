"""The socket graph: what a trace tells, by kernel socket instead of by system call."""
