def handle(request):
    name = request.text() or "world"
    return f"Hello, {name}!\n"
