"""Saved boxes: what is kept of one, where, and how others are made from it."""
