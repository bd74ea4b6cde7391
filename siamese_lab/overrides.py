"""The grammar of the command line's overrides, as far as the lab has to read and write it."""


def option_of(override: str) -> str:
    """What an override is about: 'seed' of '+seed=1'."""
    return override.split("=", 1)[0].lstrip("+~")


def quoted(text: str) -> str:
    """A value that Hydra's grammar takes as it is."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
