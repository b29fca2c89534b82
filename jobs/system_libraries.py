"""One sentence in place of a traceback if a system library is missing that OpenCV or mediapipe load."""

import re

_PACKAGES = {"libGL.so.1": "libgl1", "libEGL.so.1": "libegl1", "libGLESv2.so.2": "libgles2"}
"""Library -> its Debian package."""
_MISSING = re.compile(r"(lib[\w.+-]+\.so[\w.]*): (?:cannot open shared object file|file too short|invalid ELF header)")


def missing(error: BaseException) -> str | None:
    """A sentence on the library that an error, or one that caused it, says is missing; None if it is about others."""
    seen: BaseException | None = error
    while seen is not None:
        found = _MISSING.search(str(seen))
        if found:
            package = _PACKAGES.get(found[1])
            others = " ".join(dict.fromkeys(_PACKAGES.values()))
            how = f"apt-get install {others}" if package else "install the system package that holds it"
            return f"this machine lacks the system library {found[1]}; {how}"
        seen = seen.__cause__ or seen.__context__
    return None
