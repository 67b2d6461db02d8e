"""What follows when a rule matched: violations, incidents, responses, and where they are kept.

``match`` is one hit as rules' own functions see it, ``incident`` what is told, ``response`` what is done. ``judge``
takes hits from the sources of one sandbox and makes the others of them.
"""
