"""Exit statuses that more than one command has."""

# As shells have it of what Ctrl-C has ended: 128, and the number of the signal.
INTERRUPTED = 130
