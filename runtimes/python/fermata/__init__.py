"""What a handler gets and may return."""

# The first file of the program that runs handlers (see shim.py), and the module `fermata` of the package
# that editors and tests use. Here it imports nothing: time from start to ready is what a caller waits for.
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
    from typing import Any, Union

    Piece = Union[str, bytes, bytearray, memoryview]
    Fields = Union[Mapping[str, Any], Iterable["tuple[str, Any]"]]
    Body = Union[Piece, dict, list, bool, int, float, None, Iterator[Piece], AsyncIterator[Piece]]
    Result = Union[Body, "tuple[Body, int]", "tuple[Body, int, Fields]", "Response"]

__all__ = ["HTTPError", "Headers", "Request", "Response"]


class Headers:
    """Header fields of a request; names are matched without regard to case."""

    __slots__ = ("_fields",)

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        values = self.get_all(name)
        # Over HTTP/2 cookies may come in several fields (RFC 9113, section 8.2.3).
        between = "; " if name.lower() == "cookie" else ", "
        return between.join(values) if values else default

    def get_all(self, name: str) -> list[str]:
        name = name.lower()
        return [value for field, value in self._fields if field == name]

    def __contains__(self, name: str) -> bool:
        name = name.lower()
        return any(field == name for field, _ in self._fields)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(field for field, _ in self._fields))

    def __len__(self) -> int:
        return len({field for field, _ in self._fields})

    def keys(self) -> list[str]:
        return list(self)

    def items(self) -> list[tuple[str, str]]:
        return list(self._fields)

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"


class Request:
    """A request: method, path, query, headers and body."""

    __slots__ = ("method", "path", "query_string", "headers", "body", "_query")

    def __init__(
        self, method: str, path: str, query_string: str, headers: Headers, body: bytes
    ) -> None:
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self.body = body
        self._query: dict[str, str] | None = None

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of one that is given more than once, the first."""
        if self._query is None:
            from urllib.parse import parse_qsl

            self._query = {}
            for name, value in parse_qsl(self.query_string, keep_blank_values=True):
                self._query.setdefault(name, value)
        return self._query

    def query_all(self, name: str) -> list[str]:
        """All values of a parameter."""
        from urllib.parse import parse_qsl

        pairs = parse_qsl(self.query_string, keep_blank_values=True)
        return [value for given, value in pairs if given == name]

    def text(self) -> str:
        """The body as text, in the charset it is declared in, else UTF-8; 400 for the caller if it is none."""
        charset = "utf-8"
        for part in self.headers.get("content-type", "").split(";")[1:]:
            name, _, value = part.strip().partition("=")
            if name.lower() == "charset":
                charset = value.strip('"')
                break
        codec = codec_of(charset)
        if codec is None:
            raise HTTPError(400, f"the body's charset {charset[:40]!r} is not known")
        try:
            return self.body.decode(codec)
        except (UnicodeError, LookupError) as error:
            raise HTTPError(400, f"the body is not text in {charset[:40]}") from error

    def json(self) -> Any:
        """The body as JSON (RFC 8259); 400 for the caller if it is none."""
        try:
            return parse_json(self.body)
        except RecursionError:
            what = f"it is nested more than {NESTING} deep"
        except UnicodeEncodeError:
            what = "half of a surrogate pair stands alone"
        except ValueError as error:
            what = str(error)
        raise HTTPError(400, f"the body is not JSON: {what}")

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"


# How deep JSON may be nested. A program that walks it by calling itself has to stay within the
# interpreter's own bound, a thousand calls.
NESTING = 256

# Codecs for text that Python has no second name for.
MORE_CODECS = {"cp874", "koi8_t", "koi8_u", "utf_8_sig"}


def codec_of(charset: str) -> str | None:
    """Python's name of a charset; None if there is none.

    Only those in a table are looked for: Python would import a module of any name that a caller
    gives, remember each that it has not found, and take some that are no charset of a text.
    """
    if charset.lower() == "utf-8":
        return "utf-8"
    from encodings.aliases import aliases

    name = charset.lower().replace("-", "_")
    codec = aliases.get(name, name)
    is_known = codec in MORE_CODECS or codec in aliases.values()
    return codec if is_known and codec != "utf_7" else None


def parse_json(data: bytes) -> Any:
    global json_decoder
    from json import JSONDecoder, dumps

    if json_decoder is None:
        json_decoder = JSONDecoder(parse_float=finite, parse_constant=no_number)
    text = data.decode("utf-8-sig")
    value = json_decoder.decode(text)
    # What could not be sent again is no text; see RFC 8259, section 8.2.
    if "\\ud" in text or "\\uD" in text:
        dumps(value, ensure_ascii=False).encode()
    if text.count("[") + text.count("{") > NESTING and is_deeper(value, NESTING):
        raise RecursionError
    return value


def finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError("a number is beyond the range of floating point")
    return number


def no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def is_deeper(value: Any, most: int) -> bool:
    level = [value] if type(value) in (dict, list) else []
    for _ in range(most):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
    return bool(level)


json_decoder: Any = None


class Response:
    """An answer with a status and header fields of its own."""

    __slots__ = ("body", "status", "headers")

    def __init__(
        self, body: Body = None, status: int | None = None, headers: Fields | None = None
    ) -> None:
        self.body = body
        self.status = status
        self.headers = headers


class HTTPError(Exception):
    """Raise it to answer with an error; the detail is for the caller."""

    def __init__(self, status: int, detail: object = "") -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
