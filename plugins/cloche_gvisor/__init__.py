"""gVisor. So far only how to install it (``install.toml``, read by ``cloche install gvisor``); no runtime uses it yet."""
