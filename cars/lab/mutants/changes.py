"""All mutants of a module: each is its source with one small change in a function."""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256

Change = tuple[ast.AST, str, str]  # what is replaced, by which source, and how it is described

COMPARISONS: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
}
FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}
REMOVED = (ast.Expr, ast.AugAssign, ast.Delete, ast.Raise, ast.Continue, ast.Break)


@dataclass(frozen=True)
class Mutant:
    """A mutant: the `source` of a `module` with a change in its `lines`.

    The `name` says the function and the change. It stays the same while other code changes.
    """

    module: str
    name: str
    lines: range
    source: str


def drawn(mutants: Iterable[Mutant], number: int, seed: int) -> list[Mutant]:
    """Return `number` of the mutants, in the order that the seed gives them.

    Each is drawn by its name: when the code changes, most of those that were drawn stay so.
    """
    order = {mutant: sha256(f"{seed} {mutant.name}".encode()).digest() for mutant in mutants}
    return sorted(order, key=order.__getitem__)[:number]


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Return all mutants of `source`, the code of `module`."""
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    seen: Counter[str] = Counter()
    found = []
    for function, (node, new, description) in _changes(ast.parse(source), ""):
        name = f"{module}.{function}: {description}"
        seen[name] += 1
        name += f" ({seen[name]})" if seen[name] > 1 else ""
        at: dict[str, int] = vars(node)  # columns are counted in bytes
        first, last = at["lineno"], at["end_lineno"]
        before = b"".join(lines[: first - 1]) + lines[first - 1][: at["col_offset"]]
        after = lines[last - 1][at["end_col_offset"] :] + b"".join(lines[last:])
        mutated = (before + new.encode() + after).decode()
        found.append(Mutant(module, name, range(first, last + 1), mutated))
    return found


def _changes(node: ast.AST, function: str) -> Iterator[tuple[str, Change]]:
    """Yield the changes of all that is below `node`, with the names of their functions."""
    for child in _code(node):
        name = function
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = f"{function}.{child.name}" if function else child.name
        elif isinstance(node, (ast.Module, ast.ClassDef)):
            continue  # a constant, which the reference shows
        for change in _of(child):
            yield name, change
        yield from _changes(child, name)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is directly below `node`: no types, defaults, docstrings, f-strings."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            text = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            if isinstance(child, ast.AST) and not text:
                if not isinstance(child, (ast.JoinedStr, ast.arguments)):
                    yield child


def _of(node: ast.AST) -> Iterator[Change]:
    """Yield the changes of `node` itself."""
    if isinstance(node, ast.expr):
        for new in _expressions(node):
            text = ast.unparse(new)
            yield node, f"({text})", f"{_line(node)} -> {text}"
    elif isinstance(node, REMOVED) and not _is_contract(node):
        yield node, "pass", f"without {_line(node)}"
    elif isinstance(node, ast.Assign) and not isinstance(node.targets[0], (ast.Name, ast.Tuple)):
        yield node, "pass", f"without {_line(node)}"
    elif isinstance(node, ast.Return) and node.value and ast.unparse(node.value) != "None":
        yield node, "return None", f"return None, not {_line(node.value)}"
    if isinstance(node, (ast.If, ast.While, ast.IfExp)):
        if not isinstance(node.test, (ast.Compare, ast.UnaryOp)):
            text = ast.unparse(ast.UnaryOp(ast.Not(), node.test))
            yield node.test, f"({text})", f"if {_line(node.test)} -> if {text}"


def _is_contract(node: ast.stmt) -> bool:
    """Is it the `raise NotImplementedError` of a method that others have to define?"""
    return "NotImplementedError" in ast.unparse(node)


def _expressions(node: ast.expr) -> Iterator[ast.expr]:
    """Yield what `node` can be replaced by."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for comparison in COMPARISONS[type(node.ops[0])]:
            yield ast.Compare(node.left, [comparison()], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for left_out in node.values:
            yield _joined(node.op, [value for value in node.values if value is not left_out])
    elif isinstance(node, ast.BinOp):
        if type(node.op) in OPERATORS:
            yield ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
        if isinstance(node.op, (ast.BitOr, ast.Sub)):
            yield node.left
        if isinstance(node.op, ast.BitOr):
            yield node.right
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield from (node.body, node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in FUNCTIONS:
        name = ast.Name(FUNCTIONS[ast.unparse(node.func)])
        yield ast.Call(name, node.args, node.keywords)
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        yield from _without_conditions(node)


def _joined(operator: ast.boolop, values: list[ast.expr]) -> ast.expr:
    return values[0] if len(values) == 1 else ast.BoolOp(operator, values)


def _without_conditions(
    node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp,
) -> Iterator[ast.expr]:
    for number, loop in enumerate(node.generators):
        for condition in range(len(loop.ifs)):
            new = deepcopy(node)
            del new.generators[number].ifs[condition]
            yield new


def _line(node: ast.AST) -> str:
    """Return the source of `node` in one line."""
    return " ".join(ast.unparse(node).split())
