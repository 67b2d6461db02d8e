"""Behaviour rules: what they are, how they are written, and how they become a program that C judges by.

``severity``, ``fields``, ``condition``, ``rule`` and ``ruleset`` are values; ``holds`` is what a condition means, in
plain Python; ``compile`` makes native rules of them for one sandbox, whose own folders stand in ``surroundings``;
``parse`` and ``written`` read them from text. What follows from a match stands in ``cloche.incidents``.
"""
