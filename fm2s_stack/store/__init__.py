"""What goes out: OME-Zarr, TIFF and PNG, with provenance."""
