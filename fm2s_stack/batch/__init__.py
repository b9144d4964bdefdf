"""Many recordings, an output each, and how far they are."""
