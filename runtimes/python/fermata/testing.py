"""A client that calls a handler without a server."""

from __future__ import annotations

import asyncio
import json as json_
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from fermata import Headers, HTTPError, Request
from fermata._result import encode, piece, typed, unpack

__all__ = ["Answer", "Client"]


class Answer:
    """What a caller gets: status, headers and the whole body."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON."""
        return json_.loads(self.body)

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.body[:80]!r}>"


class Client:
    """Calls a handler with requests as a function gets them.

    HTTPError becomes an answer, as it does for a caller. Any other exception, for which a caller gets
    500, comes out of the call.
    """

    def __init__(self, handler: Callable[[Request], Any]) -> None:
        self.handler = handler

    def request(
        self,
        method: str,
        url: str = "/",
        *,
        body: str | bytes = b"",
        json: Any = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    ) -> Answer:
        """Calls the handler. The URL is a path with a query; json is the body as something JSON can say."""
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        fields = [(name.lower(), value) for name, value in pairs]
        if json is not None:
            body = json_.dumps(json)
            typed(fields, "application/json")
        data = body.encode() if isinstance(body, str) else bytes(body)
        target = urlsplit(url)
        given = Headers(fields)
        if "host" not in given:
            fields.append(("host", target.netloc or "localhost"))
        if data and "content-length" not in given:
            fields.append(("content-length", str(len(data))))
        request = Request(method.upper(), target.path or "/", target.query, given, data)
        try:
            return asyncio.run(answer(self.handler, request))
        except HTTPError as error:
            return problem(error)

    def get(self, url: str = "/", **options: Any) -> Answer:
        """Calls the handler with GET."""
        return self.request("GET", url, **options)

    def post(self, url: str = "/", **options: Any) -> Answer:
        """Calls the handler with POST."""
        return self.request("POST", url, **options)

    def put(self, url: str = "/", **options: Any) -> Answer:
        """Calls the handler with PUT."""
        return self.request("PUT", url, **options)

    def patch(self, url: str = "/", **options: Any) -> Answer:
        """Calls the handler with PATCH."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str = "/", **options: Any) -> Answer:
        """Calls the handler with DELETE."""
        return self.request("DELETE", url, **options)


async def answer(handler: Callable[[Request], Any], request: Request) -> Answer:
    result = handler(request)
    if hasattr(result, "__await__"):
        result = await result
    status, fields, body = unpack(result)
    data, content_type = encode(body)
    if data is None:
        pieces = [item async for item in body] if hasattr(body, "__anext__") else list(body)
        is_text = bool(pieces) and isinstance(pieces[0], str)
        content_type = "text/plain; charset=utf-8" if is_text or not pieces else "application/octet-stream"
        data = b"".join(map(piece, pieces))
    if status is None:
        status = 200 if content_type else 204
    headers = Headers([(name.lower(), str(value)) for name, value in typed(fields, content_type)])
    return Answer(status, headers, data)


def problem(error: HTTPError) -> Answer:
    """The answer of an HTTPError, see RFC 9457."""
    if not isinstance(error.status, int) or not 400 <= error.status <= 599:
        raise error
    body = {"status": error.status, "detail": str(error.detail)}
    headers = Headers([("content-type", "application/problem+json")])
    return Answer(error.status, headers, json_.dumps(body).encode())
