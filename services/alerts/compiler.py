"""From celpy's tree to kinds and Python closures, in one pass that finds every problem."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, NamedTuple

from celpy.evaluation import celstr

from services.alerts.fields import BOOL, DOUBLE, INT, NULL, STRING, UNKNOWN, Kind
from services.runtime.errors import Defect

MAX_DEPTH = 100
"""Operations inside each other in one condition."""
RAISED = (ArithmeticError, LookupError, TypeError)
"""What a checked expression can still raise: division by zero, overflow, index past the end, null in a calculation."""

Bound = tuple[Any, ...]
"""Values of the variables of `exists` and `all` around an expression, outermost first."""
Run = Callable[[Any, Bound], Any]


class Problem(NamedTuple):
    """What is wrong with a condition; `column` counts from 1 in its text."""

    column: int
    message: str


class Typed(NamedTuple):
    """An expression: what it is, how to get it, and its value where that is written in the text."""

    kind: Kind
    run: Run
    literal: Any = None


_WRAPPERS = frozenset(
    {
        "expr",
        "conditionalor",
        "conditionaland",
        "relation",
        "addition",
        "multiplication",
        "unary",
        "member",
        "primary",
        "paren_expr",
    }
)
_COMPARE = {
    "relation_lt": operator.lt,
    "relation_le": operator.le,
    "relation_gt": operator.gt,
    "relation_ge": operator.ge,
}
_EQUAL = {"relation_eq": operator.eq, "relation_ne": operator.ne}


def _int_div(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _int_mod(a: int, b: int) -> int:
    return a - b * _int_div(a, b)


_ARITHMETIC: dict[str, dict[str, Callable[[Any, Any], Any]]] = {
    "addition_add": {"int": operator.add, "double": operator.add, "string": operator.add},
    "addition_sub": {"int": operator.sub, "double": operator.sub},
    "multiplication_mul": {"int": operator.mul, "double": operator.mul},
    "multiplication_div": {"int": _int_div, "double": operator.truediv},
    "multiplication_mod": {"int": _int_mod},
}
_SIGNS = {
    "addition_add": "+",
    "addition_sub": "-",
    "multiplication_mul": "*",
    "multiplication_div": "/",
    "multiplication_mod": "%",
}
_TEXT_METHODS: dict[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": operator.contains,
}


def article(kind: Kind) -> str:
    """The kind with its article, for a sentence."""
    return f"{'an' if str(kind)[0] in 'aeio' else 'a'} {kind}" if not kind.values else "text"


class Compiler:
    """One pass over celpy's tree: kinds and closures together. Goes on after a problem, to find them all."""

    def __init__(self, fields: Mapping[str, Kind]) -> None:
        self._fields = fields
        self._variables: list[tuple[str, Kind]] = []
        self._depth = 0
        self.problems: list[Problem] = []

    def problem(self, node: Any, message: str) -> Typed:
        """Record what is wrong at `node`; its value stays unknown."""
        column = getattr(node, "column", None) or getattr(getattr(node, "meta", None), "column", None) or 1
        self.problems.append(Problem(column, message))
        return Typed(UNKNOWN, lambda _record, _bound: None)

    def compile(self, tree: Any) -> Typed:
        """The expression's kind and closure."""
        while len(tree.children) == 1 and tree.data in _WRAPPERS:
            tree = tree.children[0]
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                return self.problem(tree, f"more than {MAX_DEPTH} operations inside each other; make it two rules")
            return self._compile(tree)
        finally:
            self._depth -= 1

    def _compile(self, tree: Any) -> Typed:
        children = tree.children
        match str(tree.data), len(children):
            case "expr", 3:
                return self._choice(tree)
            case "conditionalor" | "conditionaland", 2:
                return self._logic(tree, is_or=tree.data == "conditionalor")
            case "relation", 2:
                return self._relation(children[0], children[1])
            case "addition" | "multiplication", 2:
                return self._arithmetic(children[0], children[1])
            case "unary", 2:
                return self._unary(children[0], children[1])
            case "member_dot", _:
                return self._dot(children[0], children[1])
            case "member_index", _:
                return self._index(children[0], children[1])
            case "member_dot_arg", _:
                return self._method(children[0], children[1], children[2].children if len(children) > 2 else [])
            case "ident_arg", _:
                return self._function(children[0], children[1].children if len(children) > 1 else [])
            case "ident", _:
                return self._name(children[0])
            case "literal", _:
                return self._literal(children[0])
            case "list_lit", _:
                return self._list(tree, children[0].children if children else [])
            case "member_object" | "map_lit" | "dot_ident" | "dot_ident_arg", _:
                return self.problem(tree, "maps, messages and leading dots have no use in a condition")
            case other, _:
                raise Defect(f"celpy's grammar has {other!r}, which services/alerts/condition.py does not know")

    def _choice(self, tree: Any) -> Typed:
        test, yes, no = (self.compile(child) for child in tree.children)
        if test.kind not in (BOOL, UNKNOWN):
            return self.problem(tree, f"what stands before ? is true or false, not {article(test.kind)}")
        kind = self._common(yes.kind, no.kind)
        if kind is None:
            return self.problem(tree, f"both sides of : must be of one kind, not {yes.kind} and {no.kind}")
        a, b, c = test.run, yes.run, no.run
        return Typed(kind, lambda r, v: b(r, v) if a(r, v) else c(r, v))

    def _logic(self, tree: Any, *, is_or: bool) -> Typed:
        left, right = self.compile(tree.children[0]), self.compile(tree.children[1])
        for side, node in ((left, tree.children[0]), (right, tree.children[1])):
            if side.kind not in (BOOL, UNKNOWN):
                self.problem(node, f"{'||' if is_or else '&&'} takes true or false, not {article(side.kind)}")
        a, b = left.run, right.run

        def run(record: Any, bound: Bound) -> bool:
            # CEL: the side that decides wins over an error on the other side, whichever comes first.
            try:
                if bool(a(record, bound)) is is_or:
                    return is_or
            except RAISED:
                if bool(b(record, bound)) is is_or:
                    return is_or
                raise
            return bool(b(record, bound))

        return Typed(BOOL, run)

    def _relation(self, operation: Any, right_node: Any) -> Typed:
        name = str(operation.data)
        left, right = self.compile(operation.children[0]), self.compile(right_node)
        a, b = left.run, right.run
        if UNKNOWN in (left.kind, right.kind):
            return Typed(BOOL, a)
        if name == "relation_in":
            element = right.kind.element
            if element is None or self._common(left.kind, element) is None:
                return self.problem(right_node, f"{article(left.kind)} cannot be in {article(right.kind)}")
            self._check_values(right_node, left, right)
            return Typed(BOOL, lambda r, v: a(r, v) in b(r, v))
        if name in _EQUAL:
            if self._common(left.kind, right.kind) is None and not (left.kind.is_number and right.kind.is_number):
                return self.problem(right_node, f"{article(left.kind)} never equals {article(right.kind)}")
            self._check_values(right_node, left, right)
            self._check_values(operation, right, left)
            equal = _EQUAL[name]
            return Typed(BOOL, lambda r, v: equal(a(r, v), b(r, v)))
        if left.kind.values or right.kind.values:
            return self.problem(right_node, 'these have no order as text; write `severity in ["warning", "critical"]`')
        if not (left.kind.is_number and right.kind.is_number) and not (left.kind.is_text and right.kind.is_text):
            return self.problem(right_node, f"{article(left.kind)} cannot be compared with {article(right.kind)}")
        compare = _COMPARE[name]
        return Typed(BOOL, lambda r, v: compare(a(r, v), b(r, v)))

    def _check_values(self, node: Any, enumeration: Typed, other: Typed) -> None:
        if not enumeration.kind.values or other.literal is None:
            return
        for text in other.literal if isinstance(other.literal, list) else [other.literal]:
            if text not in enumeration.kind.values:
                self.problem(node, f"{text!r} is never so; it is {enumeration.kind}")

    def _arithmetic(self, operation: Any, right_node: Any) -> Typed:
        left, right = self.compile(operation.children[0]), self.compile(right_node)
        if UNKNOWN in (left.kind, right.kind):
            return Typed(UNKNOWN, left.run)
        name = str(operation.data)
        calculate = _ARITHMETIC[name].get(left.kind.name)
        if left.kind.name != right.kind.name or calculate is None:
            hint = "; write 2.0 instead of 2, or double(count)" if left.kind.is_number and right.kind.is_number else ""
            what = f"{left.kind.name} {_SIGNS[name]} {right.kind.name}"
            return self.problem(right_node, f"there is no {what}{hint}")
        a, b = left.run, right.run
        kind = {"int": INT, "double": DOUBLE, "string": STRING}[left.kind.name]
        return Typed(kind, lambda r, v: calculate(a(r, v), b(r, v)))

    def _unary(self, operation: Any, node: Any) -> Typed:
        inner = self.compile(node)
        a = inner.run
        if inner.kind is UNKNOWN:
            return inner
        if operation.data == "unary_not":
            if inner.kind != BOOL:
                return self.problem(node, f"! takes true or false, not {article(inner.kind)}")
            return Typed(BOOL, lambda r, v: not a(r, v))
        if not inner.kind.is_number:
            return self.problem(node, f"- takes a number, not {article(inner.kind)}")
        return Typed(inner.kind, lambda r, v: -a(r, v))

    def _dot(self, node: Any, name: Any) -> Typed:
        inner = self.compile(node)
        if inner.kind is UNKNOWN:
            return inner
        if inner.kind.name != "object":
            return self.problem(name, f"{article(inner.kind)} has no fields")
        kind = inner.kind.fields.get(str(name))
        if kind is None:
            return self._unknown_name(name, inner.kind.fields)
        a, get = inner.run, operator.attrgetter(str(name))
        return Typed(kind, lambda r, v: get(a(r, v)))

    def _index(self, node: Any, at: Any) -> Typed:
        inner, index = self.compile(node), self.compile(at)
        if UNKNOWN in (inner.kind, index.kind):
            return Typed(UNKNOWN, inner.run)
        if inner.kind.element is None or index.kind != INT:
            return self.problem(at, "only lists have an index, and it is an int")
        a, b = inner.run, index.run

        def run(record: Any, bound: Bound) -> Any:
            position = b(record, bound)
            if position < 0:
                raise IndexError(f"index {position}")
            return a(record, bound)[position]

        return Typed(inner.kind.element, run)

    def _method(self, node: Any, name: Any, arguments: list[Any]) -> Typed:
        inner = self.compile(node)
        if inner.kind is UNKNOWN:
            return inner
        if name in ("exists", "all"):
            return self._over_list(inner, name, arguments)
        if name == "size" and not arguments:
            return self._size(name, inner)
        if name not in _TEXT_METHODS:
            known = ", ".join([*_TEXT_METHODS, "size", "exists", "all"])
            return self.problem(name, f"there is no function {str(name)!r}; there are {known}")
        given = [self.compile(argument) for argument in arguments]
        if not inner.kind.is_text or len(given) != 1 or not (given[0].kind.is_text or given[0].kind is UNKNOWN):
            return self.problem(name, f"{name} is asked of text and takes one text")
        test, a, b = _TEXT_METHODS[name], inner.run, given[0].run
        return Typed(BOOL, lambda r, v: test(a(r, v), b(r, v)))

    def _over_list(self, inner: Typed, name: Any, arguments: list[Any]) -> Typed:
        variable = _only_name(arguments[0]) if len(arguments) == 2 else None
        if inner.kind.element is None or variable is None:
            return self.problem(name, f"{name} is asked of a list: `culprits.{name}(c, c.share > 0.5)`")
        self._variables.append((variable, inner.kind.element))
        test = self.compile(arguments[1])
        self._variables.pop()
        if test.kind not in (BOOL, UNKNOWN):
            return self.problem(arguments[1], f"what {name} asks is true or false, not {article(test.kind)}")
        a, b = inner.run, test.run
        if name == "exists":
            return Typed(BOOL, lambda r, v: any(b(r, (*v, item)) for item in a(r, v)))
        return Typed(BOOL, lambda r, v: all(b(r, (*v, item)) for item in a(r, v)))

    def _function(self, name: Any, arguments: list[Any]) -> Typed:
        given = [self.compile(argument) for argument in arguments]
        if any(argument.kind is UNKNOWN for argument in given):
            return given[0]
        if name == "size" and len(given) == 1:
            return self._size(name, given[0])
        if name == "double" and len(given) == 1 and given[0].kind.is_number:
            a = given[0].run
            return Typed(DOUBLE, lambda r, v: float(a(r, v)))
        return self.problem(name, f"no such use of {str(name)!r}; there are size(list or text) and double(number)")

    def _size(self, name: Any, inner: Typed) -> Typed:
        if not inner.kind.is_text and inner.kind.element is None:
            return self.problem(name, f"{article(inner.kind)} has no size")
        a = inner.run
        return Typed(INT, lambda r, v: len(a(r, v)))

    def _name(self, name: Any) -> Typed:
        names = [variable for variable, _ in self._variables]
        if name in names:
            depth = len(names) - 1 - names[::-1].index(name)
            return Typed(self._variables[depth][1], lambda _record, bound: bound[depth])
        if name not in self._fields:
            return self._unknown_name(name, self._fields)
        get = operator.attrgetter(str(name))
        return Typed(self._fields[name], lambda record, _bound: get(record))

    def _unknown_name(self, name: Any, fields: Mapping[str, Kind]) -> Typed:
        near = get_close_matches(str(name), fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(fields)}"
        return self.problem(name, f"unknown field {str(name)!r}; {hint}")

    def _literal(self, token: Any) -> Typed:
        value: Any
        match token.type:
            case "INT_LIT":
                kind, value = INT, int(token, 0) if "x" in token else int(token)
            case "FLOAT_LIT":
                kind, value = DOUBLE, float(token)
            case "STRING_LIT" | "MLSTRING_LIT":
                kind, value = STRING, str(celstr(token))
            case "BOOL_LIT":
                kind, value = BOOL, str(token) == "true"
            case "NULL_LIT":
                kind, value = NULL, None
            case _:
                return self.problem(token, "write numbers like 3 or 2.5, and text in quotes")
        return Typed(kind, lambda _record, _bound: value, value)

    def _list(self, tree: Any, items: list[Any]) -> Typed:
        given = [self.compile(item) for item in items]
        if not given:
            return self.problem(tree, "an empty list holds nothing")
        kind: Kind | None = given[0].kind
        for item in given[1:]:
            kind = self._common(kind, item.kind) if kind is not None else None
        if kind is None:
            return self.problem(tree, "all of a list must be of one kind")
        literals = [item.literal for item in given]
        constant = None if None in literals else literals
        runs = [item.run for item in given]
        if constant is not None:
            return Typed(Kind("list", element=kind), lambda _record, _bound: constant, constant)
        return Typed(Kind("list", element=kind), lambda r, v: [run(r, v) for run in runs])

    @staticmethod
    def _common(a: Kind, b: Kind) -> Kind | None:
        """The kind that both are, None if there is none; null goes with what may be null."""
        if UNKNOWN in (a, b):
            return UNKNOWN
        if a.name == b.name:
            return a if a.values == b.values else replace(a, values=())
        if NULL in (a, b):
            other = b if a == NULL else a
            return replace(other, nullable=True) if other.nullable else None
        return None


def _only_name(tree: Any) -> str | None:
    """The name, where the whole expression is one."""
    while getattr(tree, "children", None):
        if tree.data == "ident":
            return str(tree.children[0])
        if len(tree.children) != 1:
            return None
        tree = tree.children[0]
    return None
