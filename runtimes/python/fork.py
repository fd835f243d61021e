# What a handler's forked children are, and are not: they have no part in the calls.

STOPS = (_signal.SIGTERM, _signal.SIGINT)

# Signal masks of the threads that are just forking.
masks = {}


def hold():
    """Puts a stop off until the child does with it what children do."""
    masks[_thread.get_ident()] = _signal.pthread_sigmask(_signal.SIG_BLOCK, STOPS)


def release():
    _signal.pthread_sigmask(_signal.SIG_SETMASK, masks.pop(_thread.get_ident()))


def become_child():
    global link, calls_lock, write_lock
    theirs, link = link, -1
    # Threads that are not in the child may have held them.
    calls_lock, write_lock = _thread.allocate_lock(), _thread.allocate_lock()
    for signal in STOPS:
        _signal.signal(signal, _signal.SIG_DFL)
    try:
        os.close(theirs)
    except OSError:
        # The handler has done so.
        pass
    release()
    # Last, since the exception that it raises would be lost within this function.
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)


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


