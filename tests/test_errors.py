from typing import Literal

import pytest
from IPython.core.interactiveshell import InteractiveShell
from pydantic import BaseModel, ConfigDict, Field

from xnnlib.errors import UserError, one_line_errors


def test_notebook_shows_the_line_and_no_stack(capsys):
    shell = InteractiveShell.instance()
    shell.run_cell("from xnnlib.errors import choose\nchoose('block', 'x', ['standard', 'se'])")
    InteractiveShell.clear_instance()
    assert capsys.readouterr().out.strip() == "error: block 'x' is unknown; choose one of standard, se."


@one_line_errors
class Example(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    count: int | None = Field(1, ge=1)
    part: float = Field(1.0, gt=0, lt=2)
    kind: Literal["one", "two"] = "one"
    names: list[str] = []
    sizes: dict[str, int] = {}


@pytest.mark.parametrize(
    "values, line",
    [
        ({"count": "many"}, "count is 'many'; it must be an integer."),
        ({"part": 2.0}, "part is 2.0; it must be below 2."),
        ({"part": float("inf")}, "part is inf; it must be a finite number."),
        ({"kind": "tow"}, "kind 'tow' is unknown; choose one of one, two. Did you mean 'two'?"),
        ({"names": "one"}, "names is 'one'; it must be a list."),
        ({"names": ["one", 2]}, "names.1 is 2; it must be text."),
        ({"sizes": {"a": None}}, "sizes.a is None; it must be an integer."),
        ({"part": 0.0, "count": 0}, "count is 0; it must be at least 1."),
        ({"cuont": 1}, "parameter 'cuont' is unknown; choose one of count, part, kind, names, sizes. "
                       "Did you mean 'count'?"),
        ({"part": "y\n" * 200}, r"part is 'y\ny\ny\ny\n...ny\ny\ny\ny\n'; it must be a number."),
    ],
    ids=range(10),
)  # fmt: skip
def test_what_pydantic_refuses_is_one_line(values, line):
    with pytest.raises(UserError) as error:
        Example(**values)
    assert str(error.value) == line
