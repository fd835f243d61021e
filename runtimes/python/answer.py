# From what a handler returned to the frames of an answer.


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

        text = dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode(), "application/json"
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


