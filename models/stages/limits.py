"""Limits of the values in a stage's configuration, the group ``model`` of its recipe; both checks name the key."""

from mosar.errors import ConfigError


def at_least(config: object, least: int, *names: str) -> None:
    """Check that these attributes are at least so large.

    Raises:
        ConfigError: one is not.
    """
    expected = "0 or more" if least == 0 else f"at least {least}"
    for name in names:
        if getattr(config, name) < least:
            raise ConfigError(f"model.{name}: got {getattr(config, name):g}, expected {expected}")


def shares(config: object, *names: str, whole: bool = True) -> None:
    """Check that these attributes are shares, from 0 to 1; not 1 itself if they cannot be ``whole``.

    Raises:
        ConfigError: one is not.
    """
    for name in names:
        value = getattr(config, name)
        if not 0 <= value <= 1 or (value == 1 and not whole):
            raise ConfigError(f"model.{name}: got {value:g}, expected a share in [0, 1{']' if whole else ')'}")
