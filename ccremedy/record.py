"""`dataclass`, `field`, `fields` and `replace`, as far as we use them, without what the standard ones bring along.

`import dataclasses` imports twenty modules (inspect, ast, dis, tokenize …), a quarter of all that a diagnosis may load.
To a type checker these *are* the standard ones; tests/test_record.py holds them to the same behaviour. Beside them,
`is_object` and `is_list` say what JSON held: to a type checker, `isinstance` alone leaves open what is inside.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import dataclass, field, fields, replace
    from typing import TypeGuard
else:
    _NONE = object()

    class Field:
        """One field of a record: `name`, `type` (as written), and how it gets its value when none is given."""

        def __init__(self, default=_NONE, default_factory=_NONE, compare=True):
            self.default, self.default_factory, self.compare = default, default_factory, compare
            self.name = self.type = ""

    field = Field

    def dataclass(cls=None, *, frozen=False):
        """Give the class `__init__`, `__repr__` and `__eq__` by its annotations; frozen ones also a hash."""
        if cls is None:
            return lambda decorated: dataclass(decorated, frozen=frozen)
        known = dict(getattr(cls, "__record_fields__", {}))
        for name, kind in vars(cls).get("__annotations__", {}).items():
            value = cls.__dict__.get(name, _NONE)
            known[name] = value if isinstance(value, Field) else Field(value)
            known[name].name, known[name].type = name, kind
            if isinstance(value, Field):
                delattr(cls, name)
        cls.__record_fields__ = known
        cls.__init__, cls.__repr__, cls.__eq__ = _init, _repr, _eq
        cls.__hash__ = _hash if frozen else None
        if frozen:
            cls.__setattr__ = cls.__delattr__ = _refuse
        return cls

    def fields(record):
        return tuple(record.__record_fields__.values())

    def replace(record, /, **changes):
        return type(record)(**{name: getattr(record, name) for name in record.__record_fields__} | changes)

    def _init(self, *values, **named):
        known = self.__record_fields__
        given = dict(zip(known, values))
        if len(values) > len(known) or named.keys() - known.keys() or given.keys() & named.keys():
            raise TypeError(f"{type(self).__name__} does not take {values!r} and {named!r}")
        given |= named
        for name, part in known.items():
            if name not in given and part.default is _NONE and part.default_factory is _NONE:
                raise TypeError(f"{type(self).__name__} lacks {name}")
            default = part.default if part.default_factory is _NONE else part.default_factory
            value = given[name] if name in given else default if default is part.default else default()
            object.__setattr__(self, name, value)

    def _key(record):
        return tuple(getattr(record, part.name) for part in fields(record) if part.compare)

    def _eq(self, other):
        return _key(self) == _key(other) if type(self) is type(other) else NotImplemented

    def _hash(self):
        return hash((type(self), _key(self)))

    def _repr(self):
        return (
            f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__record_fields__)})"
        )

    def _refuse(self, *_):
        raise AttributeError(f"a {type(self).__name__} does not change")


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


__all__ = ["dataclass", "field", "fields", "is_list", "is_object", "replace"]
