import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from mosar.datasets.photographs import read_photograph
from mosar.errors import PhotographError


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def picture():
    rows, columns = np.mgrid[0:60, 0:90]
    return np.stack([rows * 4, columns * 2, rows + columns], -1).astype(np.uint8)


def test_rgb_is_returned_as_it_is(picture):
    assert np.array_equal(read_photograph(encoded(Image.fromarray(picture))), picture)


def test_exif_rotation_is_applied(picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # EXIF: rotate 90 degrees clockwise for display
    turned = read_photograph(encoded(Image.fromarray(picture), exif=exif))
    assert np.array_equal(turned, np.rot90(picture, -1))


def test_grey_and_palette_become_rgb(picture):
    grey = read_photograph(encoded(Image.fromarray(picture[..., 1])))
    assert grey.shape == (60, 90, 3)
    assert np.array_equal(grey[..., 0], picture[..., 1])
    assert read_photograph(encoded(Image.fromarray(picture).quantize(64))).shape == (60, 90, 3)


def test_sixteen_bits_are_scaled_and_not_clipped(picture):
    deep = picture[..., 1].astype(np.uint16) * 257
    assert np.array_equal(read_photograph(encoded(Image.fromarray(deep)))[..., 2], picture[..., 1])


def test_transparent_pixels_are_put_on_white(picture):
    alpha = np.full((60, 90, 1), 255, np.uint8)
    alpha[:30] = 0
    found = read_photograph(encoded(Image.fromarray(np.concatenate([picture, alpha], -1))))
    assert (found[:30] == 255).all()
    assert np.array_equal(found[30:], picture[30:])


def test_cmyk_jpeg_is_converted(picture):
    found = read_photograph(encoded(Image.fromarray(picture).convert("CMYK"), "JPEG", quality=95))
    assert found.shape == picture.shape
    assert np.abs(found.astype(int) - picture).mean() < 12


def test_the_file_name_does_not_decide_the_format(picture, tmp_path):
    path = tmp_path / "portrait.png"
    path.write_bytes(encoded(Image.fromarray(picture), "JPEG"))
    assert read_photograph(path.read_bytes()).shape == picture.shape


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_truncated_files_give_a_clear_error(picture, kind):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(PhotographError, match=r"damaged|not an image"):
        read_photograph(data[: len(data) // 2])


@pytest.mark.parametrize("data", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0", b"\x89PNG\r\n\x1a\n"])
def test_bytes_that_are_no_image_give_a_clear_error(data):
    with pytest.raises(PhotographError, match="not an image"):
        read_photograph(data)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL"),
        (b"8BPS" + bytes(40), "Photoshop"),
        (b"\x76\x2f\x31\x01" + bytes(40), "OpenEXR"),
    ],
)
def test_formats_that_are_not_read_are_named(data, name):
    with pytest.raises(PhotographError, match=f"the file is .*{name}.*save the photograph as JPEG or PNG"):
        read_photograph(data)


def test_a_tiff_of_floating_point_colours_is_named(picture):
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, (picture / 255.0).astype(np.float32), photometric="rgb")
    with pytest.raises(PhotographError, match="floating-point colours"):
        read_photograph(buffer.getvalue())


def test_one_pixel_is_too_small():
    with pytest.raises(PhotographError, match="1 x 1"):
        read_photograph(encoded(Image.new("RGB", (1, 1))))


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side):
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    with warnings.catch_warnings(), pytest.raises(PhotographError, match="too large"):
        read_photograph(bomb + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))
