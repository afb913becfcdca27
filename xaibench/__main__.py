"""`python -m xaibench`: the command line where the program is not on the path."""

from xaibench.cli import main

if __name__ == "__main__":
    main()
