"""`python -m envoyassert` is the command `envoyassert`."""

from envoyassert.cli import main

if __name__ == "__main__":
    main()
