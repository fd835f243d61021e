# Calls, and the program itself.


class Late:
    """Finds what is among the site packages, which are looked for at the first miss only."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if path is not None or Late not in sys.meta_path:
            return None
        sys.meta_path.remove(Late)
        import site

        site.main()
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if os.environ.get("FERMATA_SITE_PACKAGES") == "warn":
                    say(
                        f"fermata: warning: {name} is a package of this machine's Python, which the image of the "
                        "Runtime does not have; a later version will not find it here either"
                    )
                return spec
        return None


def serve(start):
    for kind, id, payload in frames():
        if kind == CALL:
            call = Call(id)
            with calls_lock:
                calls[id] = call
            start(call, payload)
            continue
        with calls_lock:
            call = calls.get(id)
            if call is None:
                continue
            if kind == CREDIT:
                call.credit += int.from_bytes(payload, "big")
            elif kind == CANCEL:
                call.cancelled = True
            blocked, call.blocked = call.blocked, None
        if blocked is not None:
            blocked()
        if kind == CANCEL and call.task is not None:
            loop.call_soon_threadsafe(call.task.cancel)
    # Nobody is there any more who could be answered.
    farewell()
    flush()
    os._exit(0)


def farewell():
    """Lets an ASGI application end as it has to."""
    if life is not None:
        from asyncio import run_coroutine_threadsafe

        try:
            run_coroutine_threadsafe(life.shutdown(), loop).result()
        except Exception as error:
            report(error, "fermata: the application did not end well")


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


def say(text):
    """Writes to the log, also where the handler has put something else in place of sys.stderr."""
    flush()
    try:
        os.write(2, text.encode("utf-8", "backslashreplace") + b"\n")
    except OSError:
        pass


def failed(call, request, error):
    if link < 0:
        leave(error)
    where = named(request)
    if isinstance(error, HTTPError) and isinstance(error.status, int) and 400 <= error.status <= 599:
        try:
            detail = str(error.detail)[:LARGEST_DETAIL]
        except Exception as broken:
            error = broken
        else:
            say(f"fermata: the handler answered {where} with {int(error.status)}: {detail!r}")
            send((ERROR, call.id, b"%d\0" % error.status + detail.encode("utf-8", "replace")))
            return
    report(error, f"fermata: the handler failed on {where}")
    send((ERROR, call.id, b"500\0the function failed; its log says why"))


def report(error, title):
    """Tells a traceback without the frames of this file."""
    from traceback import format_exception

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __code_name__:
        trace = trace.tb_next
    try:
        text = "".join(format_exception(type(error), error, trace)).rstrip()
    except Exception:
        text = type(error).__name__
    say(f"{title}\n{text}")


def summary(error):
    """What is wrong, and in which line of which file of the function, in one line."""
    file, line = getattr(error, "filename", None), getattr(error, "lineno", None)
    trace = None if isinstance(error, SyntaxError) and file and line else error.__traceback__
    if trace is not None:
        file = None
    source = os.getcwd() + os.sep
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(source):
            file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    where = f"{os.path.basename(file)}, line {line}: " if file and line else ""
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        text = " ".join(text.split())
    except Exception:
        text = ""
    return f"{where}{type(error).__name__}" + (f": {text}" if text else "")


def done(call):
    if link < 0:
        leave()
    with calls_lock:
        calls.pop(call.id, None)


def run_call(handler, call, payload):
    """One call from begin to end, in a thread."""
    request = None
    try:
        if call.cancelled:
            return
        request = read(payload)
        remember(request)
        result = handler(request)
        if hasattr(result, "__await__") or hasattr(result, "__anext__"):
            # A plain function that gave something to wait for.
            hand_over(call, request, result)
            return
        answer(call, result)
    except Gone:
        pass
    except BaseException as error:
        failed(call, request, error)
    done(call)


async def finish(call, request, result):
    try:
        if hasattr(result, "__await__"):
            result = await result
        await answer_async(call, result)
    except Gone:
        pass
    except BaseException as error:
        if not call.cancelled:
            failed(call, request, error)
    finally:
        done(call)


def hand_over(call, request, result):
    def begin():
        call.task = loop.create_task(finish(call, request, result))
        if call.cancelled:
            call.task.cancel()

    ensure_loop()
    loop.call_soon_threadsafe(begin)


def essential(run, *arguments):
    """Runs what every call needs; the process ends with it."""
    try:
        run(*arguments)
    except BaseException as error:
        report(error, "fermata: the process cannot go on")
    flush()
    os._exit(1)


def ensure_loop():
    global loop
    with loop_lock:
        if loop is None:
            import asyncio

            loop = asyncio.new_event_loop()

            def run():
                asyncio.set_event_loop(loop)
                essential(loop.run_forever)

            _thread.start_new_thread(run, ())


class Pool:
    """Threads for handlers that are no coroutines; made when all there are have a call."""

    def __init__(self, most, handler):
        self.most, self.handler = most, handler
        self.queue = SimpleQueue()
        self.lock = _thread.allocate_lock()
        self.threads = self.calls = 0

    def submit(self, call, payload):
        self.queue.put((call, payload))
        with self.lock:
            self.calls += 1
            if self.calls <= self.threads or self.threads == self.most:
                return
            self.threads += 1
        try:
            _thread.start_new_thread(essential, (self.work,))
        except RuntimeError:
            # No more threads are to be had; the call waits for one of those there are.
            with self.lock:
                self.threads -= 1
                if self.threads == 0:
                    raise

    def work(self):
        while True:
            call, payload = self.queue.get()
            run_call(self.handler, call, payload)
            with self.lock:
                self.calls -= 1


# An ASGI application's.
life = None


def serve_async(handler, app=None):
    """Coroutines run in the main thread, where libraries expect the event loop."""
    global life, loop
    import asyncio

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    if app is not None:
        life = Lifespan()
        try:
            loop.run_until_complete(life.startup(app))
        except SystemExit as error:
            say(str(error.code))
            flush()
            os._exit(1)

    def start(call, payload):
        def begin():
            request = None
            try:
                request = read(payload)
                remember(request)
                result = handler(request)
            except BaseException as error:
                failed(call, request, error)
                done(call)
                return
            call.task = loop.create_task(finish(call, request, result))
            if call.cancelled:
                call.task.cancel()

        loop.call_soon_threadsafe(begin)

    _thread.start_new_thread(essential, (serve, start))
    send((READY, 0, b""))
    loop.run_forever()


def load(spec):
    module_name, _, name = spec.rpartition(".")
    if not module_name or not name:
        raise SystemExit(f"fermata: the handler {spec!r} must be written MODULE.FUNCTION, such as main.handle")
    try:
        module = __import__(module_name, fromlist=[name])
    except ModuleNotFoundError as error:
        if error.name == module_name.split(".")[0]:
            files = ", ".join(sorted(os.listdir(os.getcwd()))) or "nothing"
            raise SystemExit(f"fermata: there is no module {error.name} for the handler {spec}; the source has: {files}")
        raise
    handler = getattr(module, name, None)
    if handler is None and name == "handle":
        # Frameworks have names of their own for what is called.
        handler = next(filter(kind_of, (getattr(module, other, None) for other in ("app", "application"))), None)
    if handler is None:
        raise SystemExit(f"fermata: the module {module_name} has no {name}, which the handler {spec} names")
    if not callable(handler):
        raise SystemExit(f"fermata: {spec} is a {type(handler).__name__} and cannot be called")
    return handler


def is_async(handler):
    code = getattr(handler, "__code__", None) or getattr(
        getattr(type(handler), "__call__", None), "__code__", None
    )
    # Coroutine functions and async generator functions (CO_COROUTINE, CO_ASYNC_GENERATOR).
    return code is not None and bool(code.co_flags & 0x280)


def threads():
    """As many as calls may run at once, within reason."""
    given = os.environ.get("FERMATA_THREADS")
    if given:
        return int(given)
    limit = int(os.environ.get("FERMATA_CONCURRENCY") or 0)
    return min(limit, 256) if limit > 0 else 32


def add_dependencies():
    """Makes what the build has installed importable, right behind the function's own files, here and in
    the Pythons that the handler starts."""
    folder = os.environ.get("FERMATA_DEPENDENCIES")
    if not folder:
        return
    folder = os.environ.get("FERMATA_ROOT", "") + folder
    if os.path.isdir(folder):
        sys.path.insert(1, folder)
        others = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = folder + (os.pathsep + others if others else "")


def main():
    open_link()
    # The invoker ends this process by closing the link, when the running calls are done. A
    # handler is set, and not "ignore", because programs that are started would inherit that.
    for signal in STOPS:
        _signal.signal(signal, lambda *_: None)
    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=become_child)
    for stream in (sys.stdout, sys.stderr):
        # What a caller sent must not fail a print where the log has another encoding.
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    sys.argv = ["fermata"]
    sys.path[0] = os.getcwd()
    add_dependencies()
    sys.meta_path.insert(0, Logging)
    sys.meta_path.append(Late)
    try:
        handler = load(os.environ.get("FERMATA_HANDLER") or "main.handle")
    except SystemExit as error:
        if link < 0:
            leave(error)
        if error.code not in (None, 0):
            say(str(error.code))
        flush()
        os._exit(1)
    except BaseException as error:
        if link < 0:
            leave(error)
        report(error, "fermata: the handler cannot be loaded")
        # The last line is what the cluster shows.
        say(f"fermata: the handler cannot be loaded: {summary(error)}")
        os._exit(1)
    kind = kind_of(handler)
    if kind == "asgi":
        essential(serve_async, asgi(handler), handler)
    elif is_async(handler):
        essential(serve_async, handler)
    else:
        pool = Pool(threads(), wsgi(handler) if kind == "wsgi" else handler)
        send((READY, 0, b""))
        essential(serve, pool.submit)


__code_name__ = main.__code__.co_filename
main()
