"""Keep secrets out of what is printed or written: logins in addresses, and values of secret environment variables."""

import os
import re

_LOGIN = re.compile(r"(?<=://)[^\s/]*@")
_SECRET = re.compile(r"TOKEN|PASSWORD|PASSWD|SECRET|API_?KEY|ACCESS_KEY|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 6
"""Characters of a value that is searched for: shorter ones occur by chance."""


def redact(text: str) -> str:
    """``text`` without the logins of its URIs and without the values of environment variables that hold secrets."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and _SECRET.search(name) and not os.path.isabs(value):  # noqa: PTH117  # no file
            text = text.replace(value, f"[{name}]")
    return _LOGIN.sub("", text)
