"""What the scripts share of their command lines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

DATA = Path(__file__).parents[2] / "shared" / "data"  #: where test data lies, if it does


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(2, f"{self.prog}: {message}\n")
