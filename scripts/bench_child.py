"""A process of the benchmark: does one task and prints its result as a line of JSON.

Run by `bench_process.run_apart`: ``python scripts/bench_child.py MODULE FUNCTION ARGUMENTS``.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

from bench_process import Terms


def main(module: str, function: str, words: str) -> None:
    """Call the function and print what it returns."""
    given = json.loads(words)
    terms = Terms(**given.pop("terms"))
    print(json.dumps(getattr(import_module(module), function)(terms, **given)))


if __name__ == "__main__":
    main(*sys.argv[1:])
