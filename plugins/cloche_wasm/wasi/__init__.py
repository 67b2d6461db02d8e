"""WASI preview 1 for programs that nobody trusts: streams and folders as given, all else in memory and counted."""
