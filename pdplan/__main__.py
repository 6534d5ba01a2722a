"""`python -m pdplan`."""

from pdplan.cli import main

if __name__ == "__main__":
    main()
