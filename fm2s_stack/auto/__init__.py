"""The denoiser of ``-c auto``: trained on the recording by its measured noise, with neighbours."""
