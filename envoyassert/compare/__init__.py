"""Two runs against each other: what differs, in words; pure."""
