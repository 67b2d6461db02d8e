"""Python in a memory of its own: CPython as a WebAssembly component, built from our own program for it."""
