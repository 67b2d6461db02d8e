"""How strange what a program does is, beside what others of the same policy did: told with incidents, answered by none.

``figures`` makes one vector of named figures per program and window, ``novelty`` knows which rows of acts are known,
``detector`` is the contract of what scores them, ``watch`` runs detectors in a thread of the host's, and ``trace`` is
what one sandbox's judge has of it.
"""
