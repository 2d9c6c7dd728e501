"""Where the weights lie in what people save beside them."""

from collections.abc import Mapping
from typing import Any

NESTS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "state_dict_ema",
)
"""Keys under which files keep their weights; the first that is there is read."""

PREFIXES = ("module.", "model.", "_orig_mod.")
"""What data parallelism, wrappers and `torch.compile` put before every name."""

DEPTH = 8


def unwrap(content: Mapping[Any, Any]) -> tuple[Mapping[Any, Any], list[str]]:
    """The names and values themselves, and what had to be seen through, in words.

    Example:
        >>> unwrap({"epoch": 3, "model": {"module.w": 1, "module.b": 2}})
        ({'w': 1, 'b': 2}, ["key 'model'", "prefix 'module.'"])
    """
    seen = []
    for _ in range(DEPTH):
        nests = [key for key in NESTS if _is_nest(content.get(key))]
        prefix = next((p for p in PREFIXES if _all_begin(content, p)), None)
        if nests:
            content = content[nests[0]]
            others = f", not {', '.join(map(repr, nests[1:]))}" if nests[1:] else ""
            seen.append(f"key {nests[0]!r}{others}")
        elif prefix:
            content = {name.removeprefix(prefix): x for name, x in content.items()}
            seen.append(f"prefix {prefix!r}")
        else:
            break
    return content, seen


def _is_nest(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value)


def _all_begin(content: Mapping[Any, Any], prefix: str) -> bool:
    return bool(content) and all(str(name).startswith(prefix) for name in content)
