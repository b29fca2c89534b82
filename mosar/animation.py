"""Animated pictures as the bytes of a GIF or WebM file. Importing this loads neither torch nor OpenCV."""

import contextlib
import io
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mosar.errors import ConfigError, RunError

Picture = npt.NDArray[np.uint8]


def check_ending(path: Path) -> str:
    """The ending of an animation's file, in small letters.

    Raises:
        ConfigError: it is not one that :func:`encode` writes.
    """
    ending = path.suffix.lower()
    if ending not in _ENCODERS:
        raise ConfigError(f"{path}: expected a file name that ends in {' or '.join(_ENCODERS)}")
    return ending


def encode(pictures: Iterable[Picture], ending: str, rate: int) -> bytes:
    """Encode pictures that are shown in a loop (GIF) or once (WebM, VP8).

    Args:
        pictures: of one size (h, w, 3), sRGB; at least one. For WebM both sides are even.
        ending: ``".gif"`` or ``".webm"``.
        rate: pictures per second.

    Raises:
        ConfigError: another ending.
        RunError: OpenCV on this machine cannot write VP8.
    """
    return _ENCODERS[check_ending(Path(f"x{ending}"))](pictures, rate)


def _gif(pictures: Iterable[Picture], rate: int) -> bytes:
    from PIL import Image

    # Each picture has its own 256 colours: skin shows neither steps nor the grain of dithering, which would flicker.
    shown = [
        Image.fromarray(picture).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        for picture in pictures
    ]
    # The format counts in hundredths of a second, which are shared out such that the whole length is right.
    ends = [round(100 * i / rate) for i in range(len(shown) + 1)]
    durations_ms = [10 * (end - start) for start, end in itertools.pairwise(ends)]
    buffer = io.BytesIO()
    shown[0].save(buffer, "GIF", save_all=True, append_images=shown[1:], duration=durations_ms, loop=0, optimize=False)
    return buffer.getvalue()


def _webm(pictures: Iterable[Picture], rate: int) -> bytes:
    import cv2

    with tempfile.TemporaryDirectory() as folder:
        path, writer = Path(folder) / "animation.webm", None
        for picture in pictures:
            if writer is None:
                size = picture.shape[1], picture.shape[0]
                with _silenced():
                    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), float(rate), size)
                if not writer.isOpened():
                    raise RunError("OpenCV on this machine cannot write WebM (VP8); write a .gif file instead")
            writer.write(np.ascontiguousarray(picture[..., ::-1]))
        assert writer is not None
        writer.release()
        return path.read_bytes()


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Hide what native code prints on stderr: OpenCV says that WebM does not support VP8, and then writes it."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


_ENCODERS: dict[str, Callable[[Iterable[Picture], int], bytes]] = {".gif": _gif, ".webm": _webm}
