"""Decode users' photographs: bytes to upright sRGB pixels, with a clear error for every failure."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from mosar.errors import PhotographError

MAX_PIXELS = 50_000_000
MIN_SIDE = 32
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000")
"""Formats that are opened, whatever the file name. Others are refused: EPS, for example, runs an interpreter."""

_UNREAD = (
    (tuple((4, b"ftyp" + brand) for brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")),
     "HEIC, as phones take photographs"),
    (((0, b"\xff\x0a"), (0, b"\0\0\0\x0cJXL \r\n\x87\n")), "JPEG XL"),
    (((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")),
     "a TIFF of floating-point colours or of a rare kind, or a camera's raw file"),
    (((0, b"8BPS"),), "a Photoshop document"),
    (((0, b"\x76\x2f\x31\x01"), (0, b"#?RADIANCE")), "a picture of radiance (OpenEXR or HDR)"),
)  # fmt: skip
"""Places and bytes by which known formats begin, and their names."""


def read_photograph(data: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Pixels of an image file, H x W x 3 uint8 sRGB, after EXIF rotation; transparent pixels are put on white.

    Grey, palette, 16-bit, CMYK and colour-managed files are converted. The size is checked before any pixel is decoded.

    Raises:
        PhotographError: not an image, cut short, a side below 32 pixels, or more than ``max_pixels`` pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of its own size limit; _check_size enforces ours
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(image, max_pixels)
                image.load()
                return _srgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise PhotographError(f"the photograph is too large: more than {max_pixels} pixels; make it smaller") from error
    except PhotographError:
        raise
    except UnidentifiedImageError as error:
        raise PhotographError(_unread(data)) from error
    except Exception as error:  # decoders raise nearly any type for a damaged file
        raise PhotographError(f"the image is damaged or cut short ({error}); save it again") from error


def _unread(data: bytes) -> str:
    """Why no decoder knows a file, and what to do."""
    known = [name for starts, name in _UNREAD if any(data[at : at + len(start)] == start for at, start in starts)]
    if known:
        return f"the file is {known[0]}, which is not read; save the photograph as JPEG or PNG"
    return f"not an image: {len(data)} bytes that no decoder knows; give a JPEG or PNG"


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise PhotographError(
            f"the photograph is too large: {width} x {height}, at most {max_pixels / 1e6:g} megapixels; make it smaller"
        )
    if min(width, height) < MIN_SIDE:
        raise PhotographError(f"the photograph is too small: {width} x {height}, at least {MIN_SIDE} pixels a side")


def _srgb(image: Image.Image) -> NDArray[np.uint8]:
    image = _eight_bit(image)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
        flat = Image.new("RGBA", image.size, (255, 255, 255, 255))
        flat.alpha_composite(image)
        profile, image = image.info.get("icc_profile"), flat.convert("RGB")
        image.info["icc_profile"] = profile
    return np.array(_managed(image), np.uint8)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale modes of more than eight bits to eight bits; Pillow's own conversion would clip them."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image, np.float64)
    top = 65535.0 if image.mode.startswith("I") else max(1.0, float(np.nanmax(values)))
    scaled = np.clip(np.nan_to_num(values) / top * 255 + 0.5, 0, 255).astype(np.uint8)
    return Image.fromarray(scaled)


def _managed(image: Image.Image) -> Image.Image:
    """Convert to sRGB by the embedded colour profile, if there is a usable one."""
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except ImageCms.PyCMSError:  # the pixels may be fine though the profile is broken
            return image.convert("RGB")
        if converted is not None:
            return converted
    return image.convert("RGB")
