"""Pickles read as data: nothing that they name is imported, nothing is called.

What `pickle.load` does is a small machine with a stack. This one knows containers,
numbers and texts, and a table says what stands for each name; any other is an error.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

Name = tuple[str, str]
"""Module and name of what a pickle would import."""

CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
VALUES = frozenset(
    {
        *("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4"),
        *("FLOAT", "BINFLOAT"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    }
)
"""Operations whose argument is the value."""

PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class RefusedError(ValueError):
    """A pickle asks for what is not data."""


def unpickle(
    stream: BinaryIO,
    names: Mapping[Name, Any],
    load: Callable[[Any], Any],
) -> Any:
    """The object that a stream holds, up to the end of its pickle.

    Args:
        stream: of which bytes are read up to that end.
        names: what stands for each name; what is callable there may be called.
        load: gives what stands for a persistent id.

    Raises:
        RefusedError: a name that is not in the table, or an operation that data does
            not need.
        Exception: bytes that are no pickle can raise anything.

    Example:
        >>> import io, pickle
        >>> data = pickle.dumps({"a": [1, 2.5, (True, None)]}, protocol=2)
        >>> unpickle(io.BytesIO(data), {}, load=lambda key: key)
        {'a': [1, 2.5, (True, None)]}
        >>> unpickle(io.BytesIO(pickle.dumps(print)), {}, load=lambda key: key)
        Traceback (most recent call last):
        ema_jax.weights.unpickle.RefusedError: builtins.print
    """
    return _Machine(names, load).run(stream)


class _Machine:
    """The stack, and what is remembered by number."""

    def __init__(self, names: Mapping[Name, Any], load: Callable[[Any], Any]) -> None:
        self.names, self.load = names, load
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: BinaryIO) -> Any:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument)
        raise ValueError("the pickle has no end")

    def step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        if opcode in VALUES:
            stack.append(argument)
        elif opcode in CONSTANTS:
            stack.append(CONSTANTS[opcode])
        elif opcode in EMPTY:
            stack.append(EMPTY[opcode]())
        elif opcode in PUTS:
            self.memo[argument] = stack[-1]
        elif opcode in GETS:
            stack.append(self.memo[argument])
        elif opcode in TUPLES:
            count = TUPLES[opcode]
            stack[-count:] = [tuple(stack[-count:])]
        elif opcode not in ("PROTO", "FRAME"):
            getattr(self, f"on_{opcode.lower()}", self.refuse)(opcode, argument)

    def refuse(self, opcode: str, _: Any) -> None:
        raise RefusedError(f"the operation {opcode}")

    def above_mark(self) -> list[Any]:
        """Takes what lies on the stack since the last mark."""
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def on_memoize(self, _: str, __: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def on_mark(self, _: str, __: Any) -> None:
        self.marks.append(len(self.stack))

    def on_pop(self, _: str, __: Any) -> None:
        self.stack.pop()

    def on_tuple(self, _: str, __: Any) -> None:
        self.stack.append(tuple(self.above_mark()))

    def on_list(self, _: str, __: Any) -> None:
        self.stack.append(self.above_mark())

    def on_dict(self, _: str, __: Any) -> None:
        self.stack.append(_pairs(self.above_mark()))

    def on_append(self, _: str, __: Any) -> None:
        item = self.stack.pop()
        _expect(self.stack[-1], list).append(item)

    def on_appends(self, _: str, __: Any) -> None:
        items = self.above_mark()
        _expect(self.stack[-1], list).extend(items)

    def on_setitem(self, _: str, __: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _expect(self.stack[-1], dict)[key] = value

    def on_setitems(self, _: str, __: Any) -> None:
        items = self.above_mark()
        _expect(self.stack[-1], dict).update(_pairs(items))

    def on_build(self, _: str, __: Any) -> None:
        self.stack.pop()  # attributes of a dictionary, such as `_metadata`
        _expect(self.stack[-1], dict)

    def on_binpersid(self, _: str, __: Any) -> None:
        self.stack.append(self.load(self.stack.pop()))

    def on_global(self, _: str, argument: str) -> None:
        self.push_named(*argument.split(" ", 1))

    def on_stack_global(self, _: str, __: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.push_named(module, name)

    def push_named(self, module: str, name: str) -> None:
        if (module, name) not in self.names:
            raise RefusedError(f"{module}.{name}")
        self.stack.append(self.names[module, name])

    def on_reduce(self, _: str, __: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        allowed = any(function is known for known in self.names.values())
        if not allowed or not callable(function):
            raise RefusedError(f"a call of {type(function).__name__}")
        self.stack.append(function(*_expect(arguments, tuple)))


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))
