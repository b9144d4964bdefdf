"""The command line, but it hangs on opening the input while a file is not there.

    python hanging_program.py FILE SHARES WORDS...

It hangs in the shares of the units that are listed, such as ``3/4,4/4``.
"""

import sys
import time
from pathlib import Path

from fm2s_stack.cli.main import main
from fm2s_stack.stack import open as opening

_, file, shares, *words = sys.argv
opens = opening.open_stack


def open_when_there(*given: object, **options: object) -> object:
    hangs = any(f"--units={share}" in words for share in shares.split(","))
    if hangs and not Path(file).exists():
        print("hanging", flush=True)
        time.sleep(600)
    return opens(*given, **options)


opening.open_stack = open_when_there
main(words)
