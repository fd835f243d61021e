import io

from PIL import Image

LARGEST = (128, 128)

# Twice as many are refused: a small file may say that it is an endless picture.
Image.MAX_IMAGE_PIXELS = 20_000_000


def handle(request):
    try:
        picture = Image.open(io.BytesIO(request.body))
        picture.thumbnail(LARGEST)
    except (OSError, Image.DecompressionBombError) as error:
        # 4xx is final: no other attempt makes a picture of it.
        return f"this is no picture that can be made small: {error}", 422
    small = io.BytesIO()
    picture.convert("RGB").save(small, "PNG")
    return small.getvalue(), 200, {"content-type": "image/png"}
