# What a handler returned, as status, header fields and body.
from fermata import Response


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


def piece(item):
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    raise TypeError(f"a generator must give text or bytes, not {type(item).__name__}")
