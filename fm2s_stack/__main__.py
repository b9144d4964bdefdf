"""``python -m fm2s_stack``."""

from fm2s_stack.cli.main import main

if __name__ == "__main__":
    main()
