# Runs one Python handler for fermata-invoker; see runtimes/README.md for the protocol.
#
# One program in five files, which the invoker puts together in this order: api.py (what a handler
# gets and may return), link.py (frames and credit), fork.py (a handler's forked children), answer.py
# (from what a handler returned to frames), shim.py (calls, and the program itself).
#
# Time from start to ready is what a caller waits for, so that this imports as little as it can:
# no asyncio, json or threading unless the handler needs them, and the site packages only when an
# import is not found without them.
import sys
import os
import _signal
import _thread
from _queue import SimpleQueue

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


