# The link to the invoker: frames, and credit for what may be sent.

CALL, CANCEL, CREDIT = 1, 2, 3
READY, RESPONSE, HEAD, DATA, END, ERROR = 16, 17, 18, 19, 20, 21
CHUNK = 65536
WINDOW = 262144
LARGEST_HEAD = 32768
LARGEST_DETAIL = 8192


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


calls = {}
calls_lock = _thread.allocate_lock()
write_lock = _thread.allocate_lock()
link = -1
link_file = None
loop = None
loop_lock = _thread.allocate_lock()


def identity(status):
    return status.st_dev, status.st_ino


def open_link():
    """Takes the link over, which is of no use to programs that the handler starts."""
    global link, link_file
    link = int(os.environ.pop("FERMATA_LINK"))
    os.set_inheritable(link, False)
    link_file = identity(os.fstat(link))


def lost(error):
    """Ends the process: without a link it can answer nobody."""
    # After the invoker's own end there is nothing to tell.
    if not isinstance(error, ConnectionError):
        say(f"fermata: the link to the invoker is lost: {error}")
    flush()
    os._exit(1)


def send(*frames):
    if link < 0:
        leave()
    data = b"".join(
        len(payload).to_bytes(4, "big") + bytes((kind,)) + id.to_bytes(4, "big") + payload
        for kind, id, payload in frames
    )
    try:
        with write_lock:
            # A handler may have closed the descriptor, whose number is another file's then.
            if identity(os.fstat(link)) != link_file:
                raise OSError("its descriptor is another file's")
            view = memoryview(data)
            while view:
                view = view[os.write(link, view) :]
    except OSError as error:
        lost(error)


def head(status, headers):
    parts = [str(int(status))]
    for name, value in headers:
        parts += (name, str(value))
    text = "\0".join(parts)
    # A part with a NUL would be two of them; whatever else is wrong with a part, the invoker says.
    if len(text) > LARGEST_HEAD or text.count("\0") >= len(parts) or not (text.isascii() or is_latin_1(text)):
        raise ValueError(complaint(parts, len(text)))
    return text.encode("latin-1")


def is_latin_1(text):
    return all(character <= "\xff" for character in text)


def complaint(parts, size):
    """What is wrong with header fields, without their values, which may be secrets."""
    for name, value in zip(parts[1::2], parts[2::2]):
        if "\0" in name or not name.isascii():
            return f"{name[:100]!r} is no name of a header field"
        if "\0" in value:
            return f"the header field {name[:100]!r} has a value with a control character"
        if not is_latin_1(value):
            return f"the header field {name[:100]!r} has a value with a character beyond Latin-1"
    return f"the header fields take {size} bytes, more than {LARGEST_HEAD}"


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
        try:
            data = os.read(link, 262144)
        except OSError as error:
            lost(error)
        if not data:
            return
        buffer += data


def read(payload):
    size = int.from_bytes(payload[:4], "big")
    method, path, query, *rest = payload[4 : 4 + size].decode("latin-1").split("\0")
    if not (path.isascii() and query.isascii()):
        path, query = path.encode("latin-1").decode(), query.encode("latin-1").decode()
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


