# From what a handler returned to the frames of an answer.


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


