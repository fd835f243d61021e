from humanize import naturalsize


def handle(request):
    name = request.text() or "world"
    size = naturalsize(len(name.encode()))
    return f"Hello, {name}! Your name has {size}.\n"
