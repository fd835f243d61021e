# The handlers' log: which request a line is about, and how the module `logging` writes.

LINE = "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"
LONGEST_ID = 64

# There once the handler has imported logging, and only then worth its time.
request_id = None


def remember(request):
    """The lines that follow are about this request."""
    if request_id is not None:
        request_id.set(id_of(request))


def id_of(request):
    """The request's id as the gateway gave it, if it can stand in a line."""
    given = request.headers.get("x-request-id", "")[:LONGEST_ID]
    return given if given.isascii() and given.isprintable() and given else "-"


def named(request):
    """A request in a sentence."""
    if not request:
        return "a request"
    given = id_of(request)
    return f"{request.method} {request.path}" + (f" (request {given})" if given != "-" else "")


class Logging:
    """Sets the module logging up when it is imported, which most handlers never do."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "logging" or Logging not in sys.meta_path:
            return None
        sys.meta_path.remove(Logging)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                run = spec.loader.exec_module

                def exec_module(module):
                    run(module)
                    set_up(module)

                spec.loader.exec_module = exec_module
                return spec
        return None


def set_up(logging):
    """From INFO on, with time, level and request. Whatever the handler sets up itself counts instead."""
    if not hasattr(logging, "lastResort"):
        # A file of the function that has the same name.
        return
    global request_id
    from contextvars import ContextVar

    request_id = ContextVar("fermata_request_id", default="-")
    make = logging.getLogRecordFactory()

    def record(*arguments, **more):
        made = make(*arguments, **more)
        made.request_id = request_id.get()
        return made

    class Style(logging.PercentStyle):
        # A record of a factory of the handler's own has no id.
        def __init__(self, line, *, defaults=None):
            super().__init__(line, defaults={"request_id": "-", **(defaults or {})})

    logging.setLogRecordFactory(record)
    # What basicConfig() takes where it is given no format, and what writes where there is no handler at
    # all: a handler of ours at the root would keep basicConfig() from doing anything.
    styles = getattr(logging, "_STYLES", None)
    if styles is not None:
        styles["%"] = (Style, LINE)
    logging.lastResort.setFormatter(logging.Formatter(LINE))
    logging.lastResort.setLevel(logging.INFO)
    logging.root.setLevel(logging.INFO)
