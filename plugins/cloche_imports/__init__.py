"""Rules of other tools, made rules of cloche: ``cloche rules import falco``, ``cloche rules import sigma``.

What can't be said in cloche's conditions is left out and told of, rule by rule; a rule of which too little is left is
not made at all. ``falco`` and ``sigma`` read the two languages, ``logic`` decides what may be left out.
"""

from cloche_imports.hooks import *  # noqa: F403 - the hook; unnamed here, so that `cloche --help` need not load plugins
