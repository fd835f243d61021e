# What a handler's forked children are, and are not: they have no part in the calls.


def become_child():
    global link, calls_lock, write_lock
    theirs, link = link, -1
    # Threads that are not in the child may have held them.
    calls_lock, write_lock = _thread.allocate_lock(), _thread.allocate_lock()
    try:
        os.close(theirs)
    except OSError:
        # The handler has done so.
        pass


def leave(error=None):
    """Ends a child that came back from the handler: only its parent has an answer to give."""
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        report(error, "fermata: a child of the handler failed")
        code = 1
    flush()
    os._exit(code & 0xFF)


