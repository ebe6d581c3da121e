"""`python3 -m ccremedy`, also from a bare clone."""

from ccremedy.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
