"""What a program was seen to do, made into the narrowest profile that lets it do so again: ``cloche learn``.

``seen`` keeps what events say, ``watching`` takes them and figures while a program runs, ``places`` makes few patterns
of many paths, ``bounds`` limits of figures, ``draft`` the profile, with a note on each line of it, and ``more`` says
what a run needs that a profile does not give.
"""
