# Runs one Python handler for fermata-invoker; see runtimes/README.md for the protocol.
#
# One program in files that the invoker puts together in this order: fermata/__init__.py (what a handler
# gets and may return), module.py (the module of that name), fermata/_result.py (what a handler returned),
# link.py (frames and credit), fork.py (a handler's forked children), answer.py (from what a handler
# returned to frames), apps.py (WSGI and ASGI applications), log.py (what the log says), shim.py (calls, and the program itself).
#
# Time from start to ready is what a caller waits for, so that this imports as little as it can:
# no asyncio, json or threading unless the handler needs them, and the site packages only when an
# import is not found without them.
import sys
import os
import _signal
import _thread
from _queue import SimpleQueue

fermata = type(sys)("fermata", __doc__)
for _name in __all__:
    _exported = globals()[_name]
    _exported.__module__ = "fermata"
    setattr(fermata, _name, _exported)
sys.modules["fermata"] = fermata
