"""Config files and their overrides from the command line."""

import ast
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from train.errors import UserError
from train.names import nearest

PREFIX = "--config."


def load_config(path: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Run `get_config()` of a file, apply overrides, and lock the result.

    Args:
        path: a Python file with a function `get_config`.
        overrides: `--config.section.field=value` each.

    Raises:
        UserError: no such file, a field that does not exist, a value of another type.
    """
    file = Path(path)
    if not file.is_file():
        known = sorted(str(p) for p in Path("configs").glob("*.py"))
        raise UserError(f"--config={path}: no such file; {nearest(path, known)}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config()
    for override in overrides:
        apply_override(config, override)
    return config.lock()


def apply_override(config: ConfigDict, override: str) -> None:
    """Set one field of `config` from `--config.section.field=value`."""
    name, equals, text = override.removeprefix(PREFIX).partition("=")
    fields = set(field_names(config))
    if not override.startswith(PREFIX) or not equals:
        raise UserError(f"{override!r} is not understood; write {PREFIX}FIELD=VALUE")
    if name not in fields:
        raise UserError(f"config.{name} does not exist; {_suggest(name, fields)}")
    section, _, field = name.rpartition(".")
    holder = config[section] if section else config
    try:
        holder[field] = parse(text, holder.get_type(field))
    except (TypeError, ValueError):
        wanted = holder.get_type(field).__name__
        raise UserError(
            f"{PREFIX}{name}={text}: {text!r} is not of type {wanted}; "
            f"the field is {holder[field]!r} now"
        ) from None


def parse(text: str, kind: type) -> Any:
    """Read `text` as a value of type `kind`; "none" clears an optional field."""
    if text.lower() == "none":
        return None
    if kind is str:
        return text
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    value = ast.literal_eval(text)
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
    same = [field for field in fields if field.split(".")[-1] == name.split(".")[-1]]
    return f"did you mean config.{same[0]}?" if same else nearest(name, fields)


def to_json(config: ConfigDict) -> dict[str, Any]:
    """Plain nested dictionaries."""
    return config.to_dict()


def from_json(values: Mapping[str, Any]) -> ConfigDict:
    """The inverse of `to_json`, locked; JSON's lists become tuples again."""

    def restore(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: restore(item) for name, item in value.items()}
        return tuple(value) if isinstance(value, list) else value

    return ConfigDict(restore(values)).lock()
