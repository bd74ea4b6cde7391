"""A registry of classes by name, filled by a decorator. Its errors list the available names."""

import importlib
import inspect
import keyword
import pkgutil
import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from importlib import metadata
from typing import Any, Generic, TypeVar

from siamese_lab.errors import UserError

Part = TypeVar("Part")
Registered = TypeVar("Registered", bound=type)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that suggests the most similar known name, or an empty string."""
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


def option_name(parameter: str) -> str:
    """Return the option that a parameter of a constructor takes: `from_` takes `from`, which Python reserves.

    >>> option_name("from_"), option_name("image_size")
    ('from', 'image_size')
    """
    word = parameter.removesuffix("_")
    return word if keyword.iskeyword(word) else parameter


def parameter_name(option: str) -> str:
    """Return the parameter that takes an option: the inverse of `option_name`."""
    return f"{option}_" if keyword.iskeyword(option) else option


def options_of(cls: type) -> list[str]:
    """Return the options of a constructor, including the options that it passes to its base class by `**`."""
    options: list[str] = []
    for ancestor in inspect.getmro(cls):
        if "__init__" not in vars(ancestor):
            continue
        parameters = list(inspect.signature(vars(ancestor)["__init__"]).parameters.values())[1:]
        options += [option_name(each.name) for each in parameters if each.kind is not each.VAR_KEYWORD]
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    return options


def check_options(what: str, known: Sequence[str], options: Iterable[str]) -> None:
    """Raise UserError if an option is unknown; the message begins with `what`."""
    for option in options:
        if option not in known:
            raise UserError(
                f"{what} has no option {option!r}.{did_you_mean(option, known)} Its options: {', '.join(known)}."
            )


def import_parts(kind: str, package: str, path: Iterable[str]) -> None:
    """Import every module of a package except its command, then the modules that installed packages declare.

    An installed package declares modules in the entry point group with the name of this package, such as
    `siamese_lab.samplers`. Every module registers its parts when it is imported.

    A module of another package that cannot be imported is left out with a warning, which names the package. Its parts
    are then unknown, and everything else works.
    """
    for module in pkgutil.walk_packages(path, f"{package}."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    for entry in metadata.entry_points(group=package):
        try:
            entry.load()
        except Exception as error:  # whatever the code of another package raises
            named = f" of the package {entry.dist.name!r}" if entry.dist else ""
            print(  # the configuration of logging, which depends on the command, must not hide it
                f"The {kind} {entry.name!r}{named} cannot be loaded from {entry.value!r} and is left out: "
                f"{type(error).__name__}: {error}",
                file=sys.stderr,
            )


class Registry(Generic[Part]):
    """Maps names to the classes of one kind of part, such as samplers."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.classes: dict[str, type[Part]] = {}
        self.libraries: dict[str, Callable[..., Part]] = {}
        """Classes that build a part of another library by its name there, by the name of the library."""

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Return a class decorator that registers the class as `name`."""

        def enter(cls: Registered) -> Registered:
            if name in self.classes:
                raise ValueError(f"Two {self.kind}s have the name {name!r}: {self.classes[name]} and {cls}.")
            self.classes[name] = cls
            return cls

        return enter

    def register_library(self, library: str) -> Callable[[Registered], Registered]:
        """Return a class decorator that registers the class for the parts of another library.

        Its constructor gets the name of the part there as `name`, with the options of the part.
        """

        def enter(cls: Registered) -> Registered:
            self.libraries[library] = cls
            return cls

        return enter

    def discover(self, package: str, path: list[str]) -> None:
        """Import all parts of this kind: see `import_parts`."""
        import_parts(self.kind, package, path)

    def available(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        return tuple(sorted(self.classes))

    def build(self, name: str, *, library: str | None = None, also: Sequence[str] = (), **options: Any) -> Part:
        """Build the part with the name `name`.

        Args:
            name: one of `available()`, or a name of `library`.
            library: another library that has the part, one of `libraries`; None for a registered part.
            also: options that the caller handles itself; messages list them as well.
            **options: the options of the part.

        Raises:
            UserError: if the name or an option is unknown; the message lists the available ones.
        """
        if library is not None:
            return self._build_of_library(library, name, options)
        if name not in self.classes:
            raise UserError(
                f"There is no {self.kind} {name!r}.{did_you_mean(name, self.classes)} "
                f"Available: {', '.join(self.available())}."
            )
        cls = self.classes[name]
        check_options(f"The {self.kind} {name!r}", [*also, *options_of(cls)], options)
        return cls(**{parameter_name(option): value for option, value in options.items()})

    def _build_of_library(self, library: str, name: str | None, options: dict[str, Any]) -> Part:
        if library not in self.libraries:
            known = ", ".join(sorted(self.libraries))
            raise UserError(f"There is no library {library!r} with a {self.kind}. Available: {known}.")
        if name is None:
            raise UserError(
                f"{self.kind}={library} needs the name of a {self.kind} of that library: {self.kind}.name=NAME."
            )
        return self.libraries[library](name=name, **options)
