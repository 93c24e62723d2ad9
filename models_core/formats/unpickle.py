"""A pickle's data without its code.

The standard library's `pickletools` tells the opcodes apart; what they do to the stack is done
here, on plain data. Nothing is imported and nothing is called: a global is its name, an allowed
constructor is one of our own functions (`allowed`), an object of any other class is a `Record`,
and any other call is refused by the name it tried to reach.
"""

from __future__ import annotations

import encodings.raw_unicode_escape  # noqa: F401  what protocol 0 needs, imported before any file is read
import pickletools
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

from models_core.formats.allowed import CALLS, PLAIN, RENAMED, Name, Record
from models_core.formats.spans import Reader, Span
from models_core.formats.tensors import Storage, StoredTensor
from models_core.formats.verdicts import Corrupt, Refused, Unsafe, shown

MAX_OPCODES = 400_000  # a StyleGAN2 snapshot at 1024 pixels has about 100,000
LOAD_BYTES = "torch.storage._load_from_bytes"
_MARK = object()
# Python's own modules, where nothing but the allowed names is a model's business.
PYTHONS_OWN = sys.stdlib_module_names | {"__builtin__", "copy_reg", "commands", "urllib2", "nt"}


class Budget:
    """Opcodes that one file may still use, shared by all pickles inside it."""

    def __init__(self, opcodes: int = MAX_OPCODES) -> None:
        self.left = opcodes

    def spend(self, opcodes: int = 1) -> None:
        self.left -= opcodes
        if self.left < 0:
            raise Corrupt(f"its pickles have more than {MAX_OPCODES:,} opcodes")


def unpickle(
    reader: Reader,
    budget: Budget,
    *,
    persistent_load: Callable[[Any], Any] | None = None,
    load_bytes: Callable[[Span], Any] | None = None,
) -> Any:
    """The object that the pickle at the reader's place describes, as plain data.

    Args:
        persistent_load: resolves persistent ids, where the container has any.
        load_bytes: reads the torch file inside a `torch.storage._load_from_bytes` call.
    """
    machine = _Machine(budget, persistent_load, load_bytes)
    at = reader.at
    try:
        for opcode, argument, position in _opcodes(reader):
            at = position or 0
            budget.spend()
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except Refused:
        raise
    except IndexError as error:
        raise Corrupt(f"its pickle takes from an empty stack at byte {at:,}") from error
    except (ValueError, TypeError, KeyError, OverflowError, struct.error) as error:
        raise Corrupt(f"its pickle is broken after byte {at:,}: {error}") from error
    raise Corrupt("its pickle has no end")


def _opcodes(reader: Reader) -> Iterator[tuple[Any, Any, int | None]]:
    file: Any = reader  # as far as pickletools asks
    opcodes = pickletools.genops(file)
    while True:
        try:
            yield next(opcodes)
        except StopIteration:
            return
        except (AttributeError, TypeError) as error:  # a span, where text is decoded
            raise Corrupt(
                f"its pickle holds a text or number of more than {reader.LONG:,} bytes"
            ) from error


def resolve(module: Any, name: Any) -> Name:
    """A global's inert stand-in; Unsafe for what belongs to Python and is not allowed."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise Corrupt("a global's name is not text")
    path = f"{RENAMED.get(module, module)}.{name}"
    if path in CALLS or path in PLAIN or path in (LOAD_BYTES, "copyreg._reconstructor"):
        return Name(path)
    if "." in name or module.split(".")[0] in PYTHONS_OWN:
        raise Unsafe(path)
    return Name(path)


class _Machine:
    """The stack and the memo."""

    def __init__(
        self,
        budget: Budget,
        persistent_load: Callable[[Any], Any] | None,
        load_bytes: Callable[[Span], Any] | None,
    ) -> None:
        self.budget = budget
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.persistent_load, self.load_bytes = persistent_load, load_bytes

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise IndexError
        return value

    def top(self) -> Any:
        if self.stack[-1] is _MARK:
            raise IndexError
        return self.stack[-1]

    def pop_mark(self) -> list[Any]:
        """What lies above the topmost mark."""
        items: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            items.append(value)
        return items[::-1]

    def step(self, code: str, argument: Any) -> None:
        if code in _PUSHES:
            self.stack.append(bytes(argument) if isinstance(argument, bytearray) else argument)
        elif code in _CONSTANTS:
            self.stack.append(_CONSTANTS[code]())
        elif (method := _METHODS.get(code)) is not None:
            method(self, argument)
        else:
            raise Corrupt(f"its pickle asks for data outside the file ({code})")

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)][::-1]
        self.stack.append(tuple(items))

    def put(self, key: int | None) -> None:
        self.memo[len(self.memo) if key is None else int(key)] = self.top()

    def append(self, items: list[Any]) -> None:
        target = self.top()
        if isinstance(target, Record):
            target.entries.extend(items)
        elif isinstance(target, list):
            target.extend(items)
        else:
            raise Corrupt(f"its pickle appends to {shown(target)}")

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        if isinstance(target, Record):
            target = target.items
        if not isinstance(target, dict) or len(items) % 2:
            raise Corrupt(f"its pickle sets items of {shown(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_checked_key(key)] = value

    def call(self, function: Any, args: Any) -> Any:
        """REDUCE: the one place where a pickle would run something."""
        if not isinstance(function, Name) or not isinstance(args, tuple):
            raise Corrupt(f"its pickle calls {shown(function)}, which is no function")
        if function.path == LOAD_BYTES:
            return self.load_storage(args)
        if function.path == "copyreg._reconstructor":
            return self.instance(args[0], ())
        if function.path not in CALLS:
            raise Unsafe(function.path)
        # The same long text can be handed over again and again, and be copied each time.
        self.budget.spend(sum(len(a) for a in args if isinstance(a, str | list)) // 64)
        return CALLS[function.path](*args)

    def load_storage(self, args: tuple[Any, ...]) -> Any:
        data = args[0] if len(args) == 1 else None
        if self.load_bytes is None or not isinstance(data, bytes | Span):
            raise Corrupt("a storage inside a storage, or without bytes")
        return self.load_bytes(Span.of(data) if isinstance(data, bytes) else data)

    def instance(self, kind: Any, args: Any, keywords: Any = None) -> Any:
        """NEWOBJ: an object without running its class."""
        if not isinstance(kind, Name) or not isinstance(args, tuple):
            raise Corrupt(f"its pickle makes an object of {shown(kind)}, which is no class")
        if kind.path in CALLS:
            return CALLS[kind.path](*args)
        if kind.path in (LOAD_BYTES, "copyreg._reconstructor"):
            raise Unsafe(kind.path)
        return Record(kind.path, args, keywords)

    def build(self, state: Any) -> None:
        """BUILD: give an object its state. What is no record of ours keeps what it has."""
        target = self.top()
        if isinstance(target, Record):
            target.state = state
        elif isinstance(target, Name):
            raise Unsafe(target.path, "its attributes would be changed")
        elif not isinstance(target, dict | list | StoredTensor | Storage):
            raise Corrupt(f"its pickle gives a state to {shown(target)}")

    def persistent(self, key: Any) -> None:
        if self.persistent_load is None:
            raise Unsafe(f"the persistent id {shown(key)}")
        self.stack.append(self.persistent_load(key))

    def class_then_args(self) -> None:
        """OBJ: mark, class, arguments. INST is the same with the class in the opcode."""
        kind, *args = self.pop_mark()
        self.stack.append(self.call(kind, tuple(args)))


def _checked_key(key: Any) -> Any:
    """Keys that hash in no time: a pickle can nest tuples so that hashing one never ends."""
    parts = key if isinstance(key, tuple) and len(key) < 16 else (key,)
    if all(isinstance(p, str | int | float | bytes | bool | Name | None) for p in parts):
        return key
    raise Corrupt(f"a dictionary's key is a {type(key).__name__}")


def _pop(m: _Machine, _: Any) -> None:
    m.stack.pop()


def _pop_mark(m: _Machine, _: Any) -> None:
    m.pop_mark()


def _reduce(m: _Machine, _: Any) -> None:
    args, function = m.pop(), m.pop()
    m.stack.append(m.call(function, args))


def _new(m: _Machine, _: Any) -> None:
    args, kind = m.pop(), m.pop()
    m.stack.append(m.instance(kind, args))


def _new_with_keywords(m: _Machine, _: Any) -> None:
    keywords, args, kind = m.pop(), m.pop(), m.pop()
    m.stack.append(m.instance(kind, args, keywords))


def _global(m: _Machine, argument: str) -> None:
    m.stack.append(resolve(*argument.split(" ", 1)))


def _stack_global(m: _Machine, _: Any) -> None:
    name, module = m.pop(), m.pop()
    m.stack.append(resolve(module, name))


def _inst(m: _Machine, argument: str) -> None:
    args = tuple(m.pop_mark())
    m.stack.append(m.call(resolve(*argument.split(" ", 1)), args))


def _append(m: _Machine, _: Any) -> None:
    value = m.pop()
    m.append([value])


def _set_item(m: _Machine, _: Any) -> None:
    value, key = m.pop(), m.pop()
    m.set_items([key, value])


def _dict(m: _Machine, _: Any) -> None:
    items = m.pop_mark()
    m.stack.append({})
    m.set_items(items)


def _extension(m: _Machine, argument: Any) -> None:
    raise Unsafe(f"extension {argument} of the registry")


_PUSHES = {  # opcodes that hold a number, a text or bytes
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
    "MARK": lambda: _MARK,
}
_METHODS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda m, _: None,
    "FRAME": lambda m, _: None,
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "DUP": lambda m, _: m.stack.append(m.top()),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.pop_mark())),
    "TUPLE1": lambda m, _: m.tuple_of(1),
    "TUPLE2": lambda m, _: m.tuple_of(2),
    "TUPLE3": lambda m, _: m.tuple_of(3),
    "LIST": lambda m, _: m.stack.append(m.pop_mark()),
    "FROZENSET": lambda m, _: m.stack.append(m.pop_mark()),
    "DICT": _dict,
    "APPEND": _append,
    "APPENDS": lambda m, _: m.append(m.pop_mark()),
    "ADDITEMS": lambda m, _: m.append(m.pop_mark()),
    "SETITEM": _set_item,
    "SETITEMS": lambda m, _: m.set_items(m.pop_mark()),
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": lambda m, _: m.put(None),
    "GET": lambda m, key: m.stack.append(m.memo[int(key)]),
    "BINGET": lambda m, key: m.stack.append(m.memo[key]),
    "LONG_BINGET": lambda m, key: m.stack.append(m.memo[key]),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _new,
    "NEWOBJ_EX": _new_with_keywords,
    "INST": _inst,
    "OBJ": lambda m, _: m.class_then_args(),
    "BUILD": lambda m, _: m.build(m.pop()),
    "PERSID": _Machine.persistent,
    "BINPERSID": lambda m, _: m.persistent(m.pop()),
    "EXT1": _extension,
    "EXT2": _extension,
    "EXT4": _extension,
}
