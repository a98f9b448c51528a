"""The socket graph: what a trace shows, by kernel socket instead of by system call."""
