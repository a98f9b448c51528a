"""What `envoyassert init` puts into a repository: pure text, written by the command."""

#: Directory of traces and logs, below where pytest is started.
TRACES = ".envoyassert"
