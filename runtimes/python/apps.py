# WSGI and ASGI applications as handlers: Flask, Django, FastAPI and their kin.


def kind_of(handler):
    """"wsgi" for a WSGI application (PEP 3333), "asgi" for an ASGI application, else None.

    They are told from a handler, which gets the request alone, by the name of their last parameter,
    which specifications and frameworks share.
    """
    if isinstance(handler, type):
        return None
    call = handler if hasattr(handler, "__code__") else getattr(type(handler), "__call__", None)
    while hasattr(call, "__wrapped__"):
        call = call.__wrapped__
    code = getattr(call, "__code__", None)
    if code is None or code.co_argcount < 2:
        return None
    return {"start_response": "wsgi", "send": "asgi"}.get(code.co_varnames[code.co_argcount - 1])


def place_of(request):
    """Scheme, host, port, caller and path prefix, as the gateway tells them."""
    headers = request.headers
    scheme = headers.get("x-forwarded-proto", "http")
    host = headers.get("host", "localhost")
    name, _, port = host.rpartition(":")
    # Digits of other scripts, which a caller may send, are no port.
    if not name or not (port.isascii() and port.isdigit() and len(port) <= 5):
        name, port = host, "443" if scheme == "https" else "80"
    caller = headers.get("x-forwarded-for", "").split(",")[0].strip()
    prefix = headers.get("x-forwarded-prefix", "").rstrip("/")
    return scheme, name, port, caller, prefix


def unquoted(path):
    """The bytes of a path without its percent signs."""
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(path)


# WSGI: https://peps.python.org/pep-3333/


def wsgi(app):
    """A handler that calls a WSGI application, in a thread."""

    def handle(request):
        started = []

        def start_response(status, headers, exc_info=None):
            if started and exc_info is None:
                raise AssertionError("start_response is called again without an error to tell")
            written = started[2] if started else []
            started[:] = [int(status[:3]), headers, written]
            return written.append

        body = app(environ_of(request), start_response)
        try:
            if isinstance(body, (list, tuple)) and len(body) < 2:
                data = b"".join(started[2] + list(body)) if started else b""
                close(body)
                return response_of(started, data or None)
            pieces = Pieces(body, pieces_of(body, started))
            # An application may begin its answer with the first piece only.
            pieces.look()
            response = response_of(started, pieces)
            if pieces.first is not None and length_of(response.headers) == str(len(pieces.first)):
                # Nothing comes after it, so that it can go at once.
                response.body = pieces.first
                close(body)
            return response
        except BaseException:
            close(body)
            raise

    return handle


def response_of(started, body):
    if not started:
        raise RuntimeError("the WSGI application did not call start_response")
    return Response(body, started[0], started[1])


def length_of(headers):
    return next((value for name, value in headers if name.lower() == "content-length"), None)


def pieces_of(body, started):
    for piece in body:
        if started and started[2]:
            # What was given to write() comes before.
            yield b"".join(started[2])
            started[2].clear()
        if piece:
            yield piece
    if started and started[2]:
        yield b"".join(started[2])


class Pieces:
    """An answer's pieces; what the application gave is closed at their end, read or not."""

    def __init__(self, body, pieces):
        self.body, self.pieces, self.first = body, pieces, None

    def look(self):
        self.first = next(self.pieces, None)

    def __iter__(self):
        return self

    def __next__(self):
        if self.first is None:
            return next(self.pieces)
        first, self.first = self.first, None
        return first

    def close(self):
        close(self.body)


def close(body):
    getattr(body, "close", lambda: None)()


def environ_of(request):
    from io import BytesIO

    scheme, name, port, caller, prefix = place_of(request)
    environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": prefix,
        "PATH_INFO": unquoted(request.path).decode("latin-1"),
        "QUERY_STRING": request.query_string.encode().decode("latin-1"),
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": caller,
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": BytesIO(request.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for field in request.headers:
        if "_" in field:
            # It would be taken for the field with a hyphen.
            continue
        key = field.upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = request.headers[field]
        elif key not in ("CONTENT_LENGTH", "PROXY"):
            environ["HTTP_" + key] = request.headers[field]
    return environ


# ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html and lifespan.html

# How long an application may take to end, in seconds; the invoker waits a second longer.
SHUTDOWN = 4

# The event loop itself holds its tasks weakly.
running = set()


def begin(coroutine):
    task = loop.create_task(coroutine)
    running.add(task)
    task.add_done_callback(running.discard)
    return task


def asgi(app):
    """A handler that calls an ASGI application, in the event loop."""

    async def handle(request):
        exchange = Exchange(request)
        task = begin(exchange.run(app))
        try:
            start = await exchange.message("http.response.start")
            first = await exchange.message("http.response.body")
        except BaseException:
            task.cancel()
            raise
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start.get("headers", ())]
        body = exchange.pieces(first, task)
        if not first.get("more_body"):
            exchange.finish()
            body = bytes(first.get("body", b"")) or None
        return Response(body, start["status"], headers)

    return handle


class Exchange:
    """One call of an ASGI application."""

    def __init__(self, request):
        from asyncio import Event, Queue

        self.request = request
        self.body = [request.body]
        # One message at a time: an application that is faster than its caller waits.
        self.messages = Queue(1)
        self.over = Event()

    async def run(self, app):
        end = {"type": "end"}
        try:
            await app(scope_of(self.request), self.receive, self.send)
        except Exception as error:
            if self.over.is_set():
                report(error, f"fermata: the handler failed after its answer to {self.request.method} {self.request.path}")
            end["error"] = error
        await self.send(end)

    async def receive(self):
        if self.body:
            return {"type": "http.request", "body": self.body.pop(), "more_body": False}
        await self.over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if not self.over.is_set():
            await self.messages.put(message)

    async def message(self, kind):
        message = await self.messages.get()
        if message["type"] == "end":
            raise message.get("error") or RuntimeError("the ASGI application ended before its answer did")
        if message["type"] != kind:
            raise RuntimeError(f"the ASGI application sent {message['type']!r} where {kind} is due")
        return message

    def finish(self):
        """Nothing more is wanted; what the application does after its answer goes on."""
        self.over.set()
        while not self.messages.empty():
            self.messages.get_nowait()

    async def pieces(self, part, task):
        try:
            while True:
                if part.get("body"):
                    yield part["body"]
                if not part.get("more_body"):
                    return
                part = await self.message("http.response.body")
        except BaseException:
            # The caller has gone, or the answer is broken.
            task.cancel()
            raise
        finally:
            self.finish()


def scope_of(request):
    scheme, name, port, caller, prefix = place_of(request)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": scheme,
        "path": prefix + unquoted(request.path).decode("utf-8", "replace"),
        "raw_path": (prefix + request.path).encode(),
        "query_string": request.query_string.encode(),
        "root_path": prefix,
        "headers": [
            (field.encode("latin-1"), value.encode("latin-1")) for field, value in request.headers.items()
        ],
        "client": (caller, 0) if caller else None,
        "server": (name, int(port)),
        "state": dict(lifespan_state),
    }


lifespan_state = {}


class Lifespan:
    """An application's life: what it does before the first call and after the last."""

    def __init__(self):
        from asyncio import Queue

        self.incoming, self.outgoing = Queue(), Queue()

    async def live(self, app):
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": lifespan_state,
        }
        try:
            await app(scope, self.incoming.get, self.outgoing.put)
        except Exception:
            # An application that knows of no lifespan raises here, and is served all the same.
            pass
        await self.outgoing.put({"type": "end"})

    async def startup(self, app):
        self.task = begin(self.live(app))
        await self.incoming.put({"type": "lifespan.startup"})
        message = await self.outgoing.get()
        if message["type"] == "lifespan.startup.failed":
            raise SystemExit(f"fermata: the application does not start: {message.get('message') or 'it does not say why'}")

    async def shutdown(self):
        from asyncio import wait_for

        if not self.task.done():
            await self.incoming.put({"type": "lifespan.shutdown"})
            await wait_for(self.outgoing.get(), SHUTDOWN)
