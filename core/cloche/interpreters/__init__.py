"""Interpreters: code of a language run in a box of its own, without a process; and sessions that keep its state."""
