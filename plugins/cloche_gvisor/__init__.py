"""gVisor: so far only how to install it (``install.toml``, for ``cloche install gvisor``); no runtime uses it yet."""
