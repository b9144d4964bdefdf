"""Train on one recording and use the same networks for others of the same microscope.

Conditions that will be compared must share one filter: networks trained on each would
differ a little, and so would what they do to the traces.

python examples/one_fit_for_all.py denoised/ baseline.tif drug.tif washout.tif
"""

import sys
from pathlib import Path

from fm2s_stack import denoise_stack, open_stack
from fm2s_stack.settings import FitSettings


def main(folder: str, first: str, *others: str, steps: int = 450) -> None:
    """Denoise all recordings into `folder` with the networks of the first."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    fitted = place / f"{Path(first).stem}.zarr"
    denoise_stack(open_stack(first), fitted, FitSettings(draws=steps))
    for path in others:
        out = place / f"{Path(path).stem}.zarr"
        denoise_stack(open_stack(path), out, fit_from=fitted)
        print(f"{out}, with the networks of {fitted}")


if __name__ == "__main__":
    main(*sys.argv[1:])
