"""CEL conditions, checked against a record's fields when they are loaded and compiled to Python closures.

celpy parses. Its evaluators are not used (docs/decisions/0007): they cost 55-380 µs a condition where a
closure costs 1-4 µs, and know no kinds before a record comes. Understood are: fields, literals, `&& || ! ?:`,
comparisons, arithmetic, `in`, lists, `size`, `double`, `startsWith`, `endsWith`, `contains`, `exists`, `all`. Two
differences from CEL, both on the safe side: a double divided by zero is an error, not infinity; and severities have no
order as text.
"""

from collections.abc import Mapping
from typing import Any

from celpy.celparser import CELParseError, CELParser

from services.alerts.compiler import RAISED, Compiler, Problem, article
from services.alerts.fields import BOOL, UNKNOWN, Kind

MAX_LENGTH = 2000
"""Characters in one condition."""


class EvaluationError(Exception):
    """The condition has no value for this record; the message says why."""


class ConditionRefused(Exception):
    """The condition cannot be used; `problems` holds each reason."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"column {p.column}: {p.message}" for p in problems))
        self.problems = problems


class Condition:
    """A CEL expression over one kind of record, true or false."""

    def __init__(self, text: str, fields: Mapping[str, Kind]) -> None:
        """Compile.

        Raises:
            ConditionRefused: It is no CEL, names what the record does not have, or is not true or false.
        """
        self.text = text
        if len(text) > MAX_LENGTH:
            raise ConditionRefused([Problem(1, f"{len(text)} characters; the limit is {MAX_LENGTH}")])
        try:
            tree = CELParser().parse(text)
        except CELParseError as error:
            raise ConditionRefused([Problem(error.column or 1, "this is no CEL expression")]) from None
        compiler = Compiler(fields)
        made = compiler.compile(tree)
        if made.kind not in (BOOL, UNKNOWN):
            compiler.problem(tree, f"a condition is true or false, this is {article(made.kind)}")
        if compiler.problems:
            raise ConditionRefused(compiler.problems)
        self._run = made.run

    def __call__(self, record: Any) -> bool:
        """Whether it holds for the record.

        Raises:
            EvaluationError: It has no value: division by zero, a calculation with null, an index past the end.
        """
        try:
            return bool(self._run(record, ()))
        except RAISED as error:
            raise EvaluationError(f"{type(error).__name__}: {error}") from None
