"""Read the data out of a Python module without running it.

Some corpora are published as Python modules. Importing one runs whatever else it holds, so the
syntax tree is walked instead, and whatever is not plain data is refused with its line.
"""

import ast
from pathlib import Path
from typing import Any

from cft.errors import CftError

MAX_BYTES = 64 * 2**20
MAX_DEPTH = 16  # nesting of lists, tuples and dicts; real corpora have three


def read_literals(path: Path, skip_functions: bool = False) -> dict[str, Any]:
    """Values of the module's assignments, by name.

    A value is a string, number, True, False or None; a list, tuple or dict of values; or
    ``NAME[i]``: an entry of a list or tuple that was assigned above. Docstrings are ignored.

    Args:
        path: the module.
        skip_functions: pass over functions without decorators. Their bodies run only when
            somebody calls them, and here nobody does; otherwise they are refused as well.

    Raises:
        CftError: the file is missing, too large or not Python, or holds anything else.
    """
    tree = _parse(path)
    names: dict[str, Any] = {}
    for statement in tree.body:
        match statement:
            case ast.Expr(value=ast.Constant(value=str())):
                pass
            case ast.FunctionDef(decorator_list=[]) if skip_functions:
                pass
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                names[name] = _value(value, names, path, depth=0)
            case _:
                raise _refusal(path, statement)
    return names


def _parse(path: Path) -> ast.Module:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CftError(
                f"{path}: {size} bytes, more than the {MAX_BYTES} that are read; split the file"
            )
        return ast.parse(path.read_bytes(), filename=path.name)
    except FileNotFoundError:
        raise CftError(f"{path}: no such file; name a Python module that exists") from None
    except SyntaxError as error:
        raise CftError(
            f"{path}:{error.lineno or 1}: not valid Python ({error.msg}); mend the line"
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise CftError(
            f"{path}: not a module of plain data ({error or type(error).__name__}); "
            "give lists of strings"
        ) from None


def _value(node: ast.expr, names: dict[str, Any], path: Path, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise _refusal(path, node, f"nested more than {MAX_DEPTH} deep")
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=elements):
            return [_value(one, names, path, depth + 1) for one in elements]
        case ast.Tuple(elts=elements):
            return tuple(_value(one, names, path, depth + 1) for one in elements)
        case ast.Dict(keys=keys, values=values) if None not in keys:
            entries = {}
            for key, entry in zip(keys, values, strict=True):
                if not isinstance(key, ast.Constant):
                    raise _refusal(path, node, "a key that is not a constant")
                entries[key.value] = _value(entry, names, path, depth + 1)
            return entries
        case ast.Subscript(value=ast.Name(id=name), slice=index):
            return _entry(node, name, _value(index, names, path, depth + 1), names, path)
    raise _refusal(path, node)


def _entry(node: ast.expr, name: str, index: Any, names: dict[str, Any], path: Path) -> Any:
    place = f"{path}:{node.lineno}: {name}[{index!r}]"
    if name not in names:
        raise CftError(f"{place}: {name} is not assigned above; assign it before it is used")
    entries = names[name]
    if not isinstance(entries, list | tuple) or type(index) is not int:
        raise CftError(f"{place}: only an entry of a list by its number is read; write NAME[i]")
    if not -len(entries) <= index < len(entries):
        raise CftError(
            f"{place}: index out of range, {name} has {len(entries)} entries; mend the index"
        )
    return entries[index]


def _refusal(path: Path, node: ast.AST, what: str | None = None) -> CftError:
    what = what or f"{type(node).__name__} is not plain data"
    return CftError(
        f"{path}:{getattr(node, 'lineno', 1)}: {what}, and the file is never executed; leave only "
        "assignments of strings, numbers, lists, tuples and NAME[i]"
    )
