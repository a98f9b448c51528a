"""What `envoyassert init` puts into a repository: pure text, written by the command."""
