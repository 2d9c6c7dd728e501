"""Config files and their overrides from the command line."""

import ast
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from textwrap import shorten
from types import NoneType
from typing import Any

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict, FieldReference

from train.user.errors import UserError
from train.user.names import nearest

PREFIX = "--config."
SHIPPED = Path(__file__).parents[2] / "configs"

BOOLEANS = {"true": True, "false": False}
SWITCHES = BOOLEANS | {"1": True, "0": False, "yes": True, "no": False}
SWITCHES |= {"on": True, "off": False}
"""What a field that is true or false may be set to."""

EXAMPLES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number, such as 3 or 1e4",
    float: "a number, such as 0.5 or 1e-4",
    tuple: "values in brackets, such as (1, 2)",
}
"""Type to what would do."""

SYNONYMS = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "steps": "num_steps",
    "iters": "num_steps",
    "bs": "batch_size",
    "classes": "num_classes",
    "threads": "num_threads",
    "lambda": "temperature",
}
"""Names of other projects to ours."""

PATHS = ("data.root", "data.data_dir", "model.pretrained")
"""Fields in which ~ is the home folder: the shell puts it at the front alone."""
NONE_IS_A_CHOICE = ("bases_update", "normalization")
"""Optional fields that "none" is a value of: only "None" clears them."""


def load_config(path: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Run `get_config` of a file, apply overrides, and lock the result.

    Args:
        path: any Python file with a function `get_config`; behind a colon its argument,
            which for those in `configs/` is a model: "configs/camvid.py:psanet_tiny".
        overrides: `--config.section.field=value` each.

    Raises:
        UserError: no such file, one that cannot be run or gives no config, a field
            that does not exist, a value of another type.
    """
    file, argument = split_argument(path)
    if not file.is_file() and (SHIPPED.parent / file).is_file():
        file = SHIPPED.parent / file  # from another folder
    if not file.is_file():
        known = sorted(os.path.relpath(p) for p in SHIPPED.glob("[!_]*.py"))
        raise UserError(f"--config={path}: no such file; {nearest(path, known)}")
    config = _run(file, argument)
    for override in overrides:
        apply_override(config, override)
    return config.lock()


def join_overrides(arguments: Sequence[str]) -> list[str]:
    """Arguments with `--config.FIELD VALUE` and `--config.FIELD = VALUE` as one each.

    Else a value would be taken for an image.

    Example:
        >>> join_overrides(["--config.seed", "3", "--config.a.b", "=", "(1, 2)", "x"])
        ['--config.seed=3', '--config.a.b=(1, 2)', 'x']
    """
    joined, rest = [], list(arguments)
    while rest:
        argument = rest.pop(0)
        alone = argument.startswith(PREFIX) and "=" not in argument
        if alone and rest and not rest[0].startswith("--"):
            if rest[0] == "=" and len(rest) > 1:
                rest.pop(0)
            argument = f"{argument}={rest.pop(0).removeprefix('=')}"
        joined.append(argument)
    return joined


def split_argument(path: str) -> tuple[Path, str | None]:
    """A file, and what stands behind its last colon; a file with a colon has none.

    Example:
        >>> split_argument("configs/voc.py:emanet_r50")
        (PosixPath('configs/voc.py'), 'emanet_r50')
    """
    file, colon, argument = path.rpartition(":")
    if not colon or Path(path).is_file():
        return Path(path), None
    if not argument:
        raise UserError(
            f"--config={path}: nothing stands behind the colon; give an argument, such "
            f"as {file}:emanet_r50, or leave the colon out"
        )
    return Path(file), argument


def config_name(path: str) -> str:
    """The name of a config, and of its argument, for titles and files.

    Example:
        >>> config_name("configs/voc.py:emanet_r50")
        'voc_emanet_r50'
    """
    file, argument = split_argument(path)
    return re.sub(r"[^\w.=+-]", "_", "_".join([file.stem, *filter(None, [argument])]))


def _run(file: Path, argument: str | None) -> ConfigDict:
    """What `get_config` of a file returns; it can import its neighbours."""
    loader = SourceFileLoader(file.stem, str(file))
    spec = importlib.util.spec_from_loader(file.stem, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    arguments = () if argument is None else (argument,)
    try:
        with _neighbours(file.parent.absolute()):
            loader.exec_module(module)
            _check_argument(module.get_config, file, arguments)
            config = module.get_config(*arguments)
    except UserError:
        raise
    except Exception as error:  # anything that the user's file raises
        reason = shorten(f"{type(error).__name__}: {error}", 200)
        raise UserError(f"--config={file}: get_config() fails ({reason})") from error
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"--config={file}: get_config() returns a {type(config).__name__}; "
            "return a ConfigDict, such as configs.default.get_config()"
        )
    return config


@contextmanager
def _neighbours(folder: Path) -> Iterator[None]:
    """Import from a folder, and forget it: another one may have the same names."""
    path, before = list(sys.path), set(sys.modules)
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path[:] = path
        for name in sys.modules.keys() - before:
            origin = getattr(sys.modules[name], "__file__", None) or ""
            own = folder / name.partition(".")[0]  # not what is installed below
            if origin == f"{own}.py" or own in Path(origin).parents:
                del sys.modules[name]


def _check_argument(
    get_config: Callable[..., Any], file: Path, arguments: tuple[str, ...]
) -> None:
    """Raise a UserError unless a function takes the argument that is given, or none."""
    signature = inspect.signature(get_config)
    try:
        signature.bind(*arguments)
    except TypeError as error:
        if arguments:
            mend = f"takes no argument; leave :{arguments[0]} out"
        else:
            mend = f"needs an argument; write it behind a colon, as {file}:…"
        raise UserError(f"--config={file}: its get_config() {mend}") from error


def apply_override(config: ConfigDict, override: str) -> None:
    """Set one field of `config` from `--config.section.field=value`."""
    name, equals, text = override.removeprefix(PREFIX).partition("=")
    fields = set(field_names(config))
    if not override.startswith(PREFIX) or not equals:
        raise UserError(f"{override!r} is not understood; write {PREFIX}FIELD=VALUE")
    if name not in fields:
        raise UserError(f"config.{name} does not exist; {_suggest(name, fields)}")
    if name in PATHS:
        text = os.path.expanduser(text)
    section, _, field = name.rpartition(".")
    holder = config[section] if section else config
    kind = holder.get_type(field)
    try:
        chosen = field in NONE_IS_A_CHOICE and text == "none"
        optional = _is_optional(holder, field) and not chosen
        holder[field] = parse(text, kind, optional=optional)
    except (TypeError, ValueError, SyntaxError, KeyError):
        mend = EXAMPLES.get(kind, "another value")
        raise UserError(
            f"{PREFIX}{name}={text}: {text!r} is not of type {kind.__name__}; give "
            f"{mend} (it is {holder[field]!r} now)"
        ) from None


def _is_optional(holder: ConfigDict, field: str) -> bool:
    """Whether a field may be None: a placeholder, or None in a checkpoint's config."""
    fields = dict(holder.items(preserve_field_references=True))
    return isinstance(fields[field], FieldReference) or fields[field] is None


def parse(text: str, kind: type, *, optional: bool = False) -> Any:
    """Read `text` as a value of type `kind`; "none" clears an optional field.

    A field of several types takes any, as one that a checkpoint keeps as None, which
    has lost its type.
    """
    if optional and text.lower() == "none":
        return None
    if kind is str:
        return text
    if kind in (NoneType, object):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return BOOLEANS.get(text.lower(), text)
    if kind is bool:
        return SWITCHES[text.lower()]
    value = ast.literal_eval(text)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError
    return value


def field_names(config: ConfigDict, prefix: str = "") -> Iterator[str]:
    """Dotted names of all leaves."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from field_names(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _suggest(name: str, fields: set[str]) -> str:
    """The nearest dotted field, or a field of the same last name."""
    last = name.split(".")[-1]
    last = SYNONYMS.get(last.lower(), last)
    same = sorted(field for field in fields if field.split(".")[-1] == last)
    return f"did you mean config.{same[0]}?" if same else nearest(name, fields)


def to_json(config: ConfigDict) -> dict[str, Any]:
    """Plain nested dictionaries."""
    return config.to_dict()


def flat(config: ConfigDict) -> dict[str, Any]:
    """The values of a config by their dotted names."""
    return flatten_dict(to_json(config), sep=".")


def from_json(values: Mapping[str, Any]) -> ConfigDict:
    """The inverse of `to_json`, locked; JSON's lists become tuples again."""

    def restore(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: restore(item) for name, item in value.items()}
        return tuple(map(restore, value)) if isinstance(value, list) else value

    return ConfigDict(restore(values)).lock()
