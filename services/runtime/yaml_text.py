"""YAML that an operator wrote, read so that no text can hurt: bounded in size, depth and in what its aliases unfold to.

PyYAML alone recurses on nesting, and unfolds `<<` merges of merges without end ("billion laughs").
"""

from typing import Any, Final

import yaml

LARGEST: Final = 4 * 1024 * 1024
"""Characters."""
DEEPEST: Final = 32
"""Levels of nesting."""
MOST_VALUES: Final = 200_000
"""Keys and values, each alias counted as what it stands for."""


class YamlRefused(yaml.MarkedYAMLError):
    """It is YAML, but more of it than anybody writes by hand."""


def compose(text: str) -> yaml.Node | None:
    """The document's root node, safe to construct; None where the text holds nothing.

    Raises:
        yaml.YAMLError: No YAML, more than one document, or (`YamlRefused`) beyond a limit of this module.
    """
    if len(text) > LARGEST:
        raise YamlRefused(problem=f"{len(text)} characters; at most {LARGEST}")
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                line = event.start_mark.line + 1 if event.start_mark else 1
                raise YamlRefused(problem=f"line {line}: nested deeper than {DEEPEST} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None:
        _unfolded(root, {})
    return root


def construct(node: yaml.Node) -> Any:
    """A composed node as plain values.

    Raises:
        yaml.YAMLError: A value does not fit the tag that it has.
    """
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except (ValueError, OverflowError) as error:
        # A date such as 2026-02-30, or a number of thousands of digits.
        raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from None
    finally:
        loader.dispose()


def load(text: str) -> Any:
    """The text's plain values; None where it holds nothing.

    Raises:
        yaml.YAMLError: As `compose` and `construct`.
    """
    root = compose(text)
    return None if root is None else construct(root)


def _unfolded(node: yaml.Node, known: dict[int, int]) -> int:
    """Keys and values under `node`, each alias counted as what it stands for."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    size = known.get(id(node))
    if size is not None:
        if not size:
            raise YamlRefused(problem="an alias that stands for what it is in", problem_mark=node.start_mark)
        return size
    known[id(node)] = 0
    inner = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
    size = 1 + sum(_unfolded(part, known) for part in inner)
    if size > MOST_VALUES:
        raise YamlRefused(problem=f"its aliases unfold to over {MOST_VALUES} values", problem_mark=node.start_mark)
    known[id(node)] = size
    return size
