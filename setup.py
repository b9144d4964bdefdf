"""Installation metadata; the tools' settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="fm2s-stack",
    version="0.1.0",
    description="Zero-shot FM2S denoising of large TIFF and OME-Zarr stacks",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["fm2s_stack", "fm2s_stack.*"]),
    package_data={"fm2s_stack": ["py.typed"]},
    # The oldest versions that the tests passed with; torch was tried at 2.13 alone.
    install_requires=[
        "click>=8.2",
        "dask[array]>=2026.8",
        "distributed>=2026.8",
        "google-crc32c>=1.5",
        "imagecodecs>=2026.3.6",
        "numcodecs>=0.16",
        "numpy>=2.0",
        "ome-zarr>=0.18",
        "pillow>=11",
        "scikit-image>=0.22",
        "scipy>=1.13",
        "tifffile>=2026.3.3",
        "torch>=2.4",
        "zarr>=3.1.6",
    ],
    extras_require={
        "test": [
            "hypothesis>=6.100",
            "ome-zarr-models>=1.5",
            "pytest>=8",
            "yaozarrs>=0.3",
        ],
        "dashboard": ["bokeh>=3.1"],
        "lint": ["mypy>=1.11", "ruff>=0.6"],
    },
    entry_points={"console_scripts": ["fm2s-stack=fm2s_stack.cli.main:main"]},
)
