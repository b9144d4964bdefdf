"""Say from an output alone what made it, and draw it beside its recording.

The provenance is plain JSON: zarr is enough to read it.

python examples/look_at_output.py movie.tif out.zarr picture.png
"""

import sys
from pathlib import Path

import zarr

from fm2s_stack import open_stack
from fm2s_stack.report import before_after_png


def main(movie: str, out: str, picture: str) -> None:
    """Print the provenance of `out` and write `picture`."""
    told = zarr.open_group(out, mode="r").attrs["fm2s_stack"]
    for key in ("status", "command", "seed", "preset", "device", "timings", "clipped"):
        print(f"{key:<10}{told[key]}")
    raw, denoised = open_stack(movie), open_stack(out)
    scale = denoised.image.scale
    before_after_png(
        picture,
        raw.array[:, 0, 0],
        denoised.array[:, 0, 0],
        title=f"{Path(movie).name} before and after",
        pixel_size=scale.x,
        frame_interval=scale.t,
        overwrite=True,
    )
    print(f"{'picture':<10}{picture}")


if __name__ == "__main__":
    main(*sys.argv[1:])
