# Runs one Python handler for fermata-invoker; see runtimes/README.md for the protocol.
#
# Time from start to ready is what a caller waits for, so that this imports as little as it can:
# no asyncio, json or threading unless the handler needs them, and the site packages only when an
# import is not found without them.
import sys
import os
import _signal
import _thread
from _queue import SimpleQueue

CALL, CANCEL, CREDIT = 1, 2, 3
READY, RESPONSE, HEAD, DATA, END, ERROR = 16, 17, 18, 19, 20, 21
CHUNK = 65536
WINDOW = 262144

fermata = type(sys)("fermata", "What a handler gets and may return.")


class Headers:
    """Header fields of a request; names are matched without regard to case."""

    __slots__ = ("_fields",)

    def __init__(self, fields):
        self._fields = fields

    def __getitem__(self, name):
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def get(self, name, default=None):
        values = self.get_all(name)
        return ", ".join(values) if values else default

    def get_all(self, name):
        name = name.lower()
        return [value for field, value in self._fields if field == name]

    def __contains__(self, name):
        name = name.lower()
        return any(field == name for field, _ in self._fields)

    def __iter__(self):
        return iter(dict.fromkeys(field for field, _ in self._fields))

    def __len__(self):
        return len({field for field, _ in self._fields})

    def keys(self):
        return list(self)

    def items(self):
        return list(self._fields)

    def __repr__(self):
        return f"Headers({self._fields!r})"


class Request:
    """A request: method, path, query, headers and body."""

    __slots__ = ("method", "path", "query_string", "headers", "body", "_query")

    def __init__(self, method, path, query_string, headers, body):
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self.body = body
        self._query = None

    @property
    def query(self):
        """The query's parameters; of one that is given more than once, the first."""
        if self._query is None:
            from urllib.parse import parse_qsl

            self._query = {}
            for name, value in parse_qsl(self.query_string, keep_blank_values=True):
                self._query.setdefault(name, value)
        return self._query

    def query_all(self, name):
        """All values of a parameter."""
        from urllib.parse import parse_qsl

        pairs = parse_qsl(self.query_string, keep_blank_values=True)
        return [value for given, value in pairs if given == name]

    def text(self):
        """The body as text, in the charset it is declared in, else UTF-8."""
        charset = "utf-8"
        for part in self.headers.get("content-type", "").split(";")[1:]:
            name, _, value = part.strip().partition("=")
            if name.lower() == "charset":
                charset = value.strip('"')
        try:
            return self.body.decode(charset)
        except (UnicodeDecodeError, LookupError) as error:
            raise HTTPError(400, f"the body is not text in {charset}") from error

    def json(self):
        """The body as JSON; 400 for the caller if it is none."""
        from json import loads

        try:
            return loads(self.body)
        except ValueError as error:
            raise HTTPError(400, f"the body is not JSON: {error}") from error

    def __repr__(self):
        return f"<Request {self.method} {self.path}>"


class Response:
    """An answer with a status and header fields of its own."""

    __slots__ = ("body", "status", "headers")

    def __init__(self, body=None, status=None, headers=None):
        self.body = body
        self.status = status
        self.headers = headers


class HTTPError(Exception):
    """Raise it to answer with an error; the detail is for the caller."""

    def __init__(self, status, detail=""):
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


for _exported in (Headers, Request, Response, HTTPError):
    _exported.__module__ = "fermata"
    setattr(fermata, _exported.__name__, _exported)
sys.modules["fermata"] = fermata


class Call:
    """A call under way. Credit says how many more bytes of its body may be sent."""

    __slots__ = ("id", "credit", "cancelled", "blocked", "task")

    def __init__(self, id):
        self.id = id
        self.credit = WINDOW
        self.cancelled = False
        self.blocked = None
        self.task = None


class Gone(BaseException):
    """The caller has gone."""


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
                return spec
        return None


calls = {}
calls_lock = _thread.allocate_lock()
write_lock = _thread.allocate_lock()
link = -1
loop = None
loop_lock = _thread.allocate_lock()


def send(*frames):
    data = b"".join(
        len(payload).to_bytes(4, "big") + bytes((kind,)) + id.to_bytes(4, "big") + payload
        for kind, id, payload in frames
    )
    with write_lock:
        view = memoryview(data)
        while view:
            view = view[os.write(link, view) :]


def head(status, headers):
    parts = [str(status)]
    for name, value in headers:
        parts += (name, str(value))
    return "\0".join(parts).encode("latin-1")


def frames():
    """The frames the invoker sends, until it is gone."""
    buffer = bytearray()
    while True:
        while len(buffer) >= 9:
            length = int.from_bytes(buffer[:4], "big")
            if len(buffer) < 9 + length:
                break
            kind, id = buffer[4], int.from_bytes(buffer[5:9], "big")
            payload = bytes(memoryview(buffer)[9 : 9 + length])
            del buffer[: 9 + length]
            yield kind, id, payload
        data = os.read(link, 262144)
        if not data:
            return
        buffer += data


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
    flush()
    os._exit(0)


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


def read(payload):
    size = int.from_bytes(payload[:4], "big")
    method, path, query, *rest = payload[4 : 4 + size].decode("latin-1").split("\0")
    fields = list(zip(rest[::2], rest[1::2]))
    return Request(method, path, query, Headers(fields), payload[4 + size :])


def take(call, wanted):
    """Takes credit for up to that many bytes; 0 if there is none."""
    with calls_lock:
        if call.cancelled:
            raise Gone
        granted = min(wanted, call.credit)
        call.credit -= granted
        return granted


def block(call, wake):
    """Has wake called at the next credit; False if there is credit already."""
    with calls_lock:
        if call.credit > 0 or call.cancelled:
            return False
        call.blocked = wake
        return True


def pump(call, data):
    view = memoryview(data)
    while view:
        granted = take(call, min(len(view), CHUNK))
        if granted:
            send((DATA, call.id, bytes(view[:granted])))
            view = view[granted:]
        else:
            gate = _thread.allocate_lock()
            gate.acquire()
            if block(call, gate.release):
                gate.acquire()


async def pump_async(call, data):
    view = memoryview(data)
    while view:
        granted = take(call, min(len(view), CHUNK))
        if granted:
            send((DATA, call.id, bytes(view[:granted])))
            view = view[granted:]
        else:
            future = loop.create_future()

            def wake(future=future):
                loop.call_soon_threadsafe(lambda: future.done() or future.set_result(None))

            if block(call, wake):
                await future


def unpack(result):
    """Status, header fields and body of what a handler returned."""
    status, headers, body = None, None, result
    if isinstance(body, Response):
        status, headers, body = body.status, body.headers, body.body
    elif isinstance(body, tuple):
        if not 2 <= len(body) <= 3:
            raise TypeError("a tuple must be (body, status) or (body, status, headers)")
        status, headers, body = body[1], body[2] if len(body) == 3 else None, body[0]
    if status is not None and (
        isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599
    ):
        raise ValueError(f"{status!r} is not a status between 200 and 599")
    if headers is None:
        headers = []
    else:
        headers = list(headers.items() if hasattr(headers, "items") else headers)
        for name, value in headers:
            if not isinstance(name, str):
                raise TypeError(f"the name of a header field must be text, not {name!r}")
    return status, headers, body


def encode(body):
    """Bytes and content type of a body that is whole; no bytes for one that is a stream."""
    if body is None:
        return b"", None
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body), "application/octet-stream"
    if isinstance(body, (dict, list, bool, int, float)):
        from json import dumps

        return dumps(body, ensure_ascii=False, separators=(",", ":")).encode(), "application/json"
    if hasattr(body, "__next__") or hasattr(body, "__anext__"):
        return None, None
    raise TypeError(
        f"a handler cannot return {type(body).__name__}; it returns text, bytes, a dict, a list, "
        "a number, None, a (body, status, headers) tuple, a Response or a generator"
    )


def typed(headers, content_type):
    if content_type and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("content-type", content_type))
    return headers


def whole(call, status, headers, data, content_type):
    """The frames of a whole answer, if it is small enough to go at once."""
    if status is None:
        status = 200 if content_type else 204
    first = head(status, typed(headers, content_type))
    if len(data) <= CHUNK:
        send((RESPONSE, call.id, len(first).to_bytes(4, "big") + first + data))
        return True
    send((HEAD, call.id, first))
    return False


def piece(item):
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    raise TypeError(f"a generator must give text or bytes, not {type(item).__name__}")


def stream_head(call, status, headers, first):
    kind = "text/plain; charset=utf-8" if isinstance(first, str) else "application/octet-stream"
    send((HEAD, call.id, head(status or 200, typed(headers, kind))))


def answer(call, result):
    """Sends what a handler returned, from a thread."""
    status, headers, body = unpack(result)
    data, content_type = encode(body)
    if data is not None:
        if not whole(call, status, headers, data, content_type):
            pump(call, data)
            send((END, call.id, b""))
        return
    try:
        # An error before the first piece can still be told as a status.
        first = next(body, "")
        stream_head(call, status, headers, first)
        pump(call, piece(first))
        for item in body:
            pump(call, piece(item))
        send((END, call.id, b""))
    finally:
        getattr(body, "close", lambda: None)()


async def answer_async(call, result):
    """Sends what a handler returned, from the event loop."""
    status, headers, body = unpack(result)
    data, content_type = encode(body)
    if data is not None:
        if not whole(call, status, headers, data, content_type):
            await pump_async(call, data)
            send((END, call.id, b""))
        return
    if not hasattr(body, "__anext__"):
        await loop.run_in_executor(None, answer, call, Response(body, status, headers))
        return
    try:
        first = await anext(body, "")
        stream_head(call, status, headers, first)
        await pump_async(call, piece(first))
        async for item in body:
            await pump_async(call, piece(item))
        send((END, call.id, b""))
    finally:
        if hasattr(body, "aclose"):
            await body.aclose()


def failed(call, request, error):
    if isinstance(error, HTTPError) and isinstance(error.status, int) and 400 <= error.status <= 599:
        detail = str(error.detail).encode("utf-8", "replace")
        send((ERROR, call.id, str(error.status).encode() + b"\0" + detail))
        return
    where = f"{request.method} {request.path}" if request else "a request"
    report(error, f"fermata: the handler failed on {where}")
    send((ERROR, call.id, b"500\0the function failed; its log says why"))


def report(error, title):
    """Prints a traceback without the frames of this file."""
    from traceback import print_exception

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __code_name__:
        trace = trace.tb_next
    print(title, file=sys.stderr)
    try:
        print_exception(type(error), error, trace)
    except Exception:
        print(repr(error), file=sys.stderr)
    flush()


def done(call):
    with calls_lock:
        calls.pop(call.id, None)


def run_call(handler, call, payload):
    """One call from begin to end, in a thread."""
    request = None
    try:
        if call.cancelled:
            return
        request = read(payload)
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


def ensure_loop():
    global loop
    with loop_lock:
        if loop is None:
            import asyncio

            loop = asyncio.new_event_loop()

            def run():
                asyncio.set_event_loop(loop)
                loop.run_forever()

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
        _thread.start_new_thread(self.work, ())

    def work(self):
        while True:
            call, payload = self.queue.get()
            run_call(self.handler, call, payload)
            with self.lock:
                self.calls -= 1


def serve_async(handler):
    """Coroutines run in the main thread, where libraries expect the event loop."""
    global loop
    import asyncio

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    def start(call, payload):
        def begin():
            request = None
            try:
                request = read(payload)
                result = handler(request)
            except BaseException as error:
                failed(call, request, error)
                done(call)
                return
            call.task = loop.create_task(finish(call, request, result))
            if call.cancelled:
                call.task.cancel()

        loop.call_soon_threadsafe(begin)

    def reader():
        try:
            serve(start)
        finally:
            os._exit(1)

    _thread.start_new_thread(reader, ())
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


def main():
    global link
    # The link came as standard input, which handlers find empty.
    link = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    # The invoker ends this process by closing the link, when the running calls are done. A
    # handler is set, and not "ignore", because programs that are started would inherit that.
    for signal in (_signal.SIGTERM, _signal.SIGINT):
        _signal.signal(signal, lambda *_: None)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    sys.argv = ["fermata"]
    sys.path[0] = os.getcwd()
    sys.meta_path.append(Late)
    try:
        handler = load(os.environ.get("FERMATA_HANDLER") or "main.handle")
    except SystemExit as error:
        if error.code not in (None, 0):
            print(error.code, file=sys.stderr)
        flush()
        os._exit(1)
    except BaseException as error:
        report(error, "fermata: the handler cannot be loaded")
        os._exit(1)
    try:
        if is_async(handler):
            serve_async(handler)
        else:
            pool = Pool(int(os.environ.get("FERMATA_THREADS") or 32), handler)
            send((READY, 0, b""))
            serve(pool.submit)
    except OSError:
        # The invoker is gone.
        flush()
        os._exit(1)


__code_name__ = main.__code__.co_filename
main()
