import pytest
from IPython.core.interactiveshell import InteractiveShell

from xnnlib.errors import UserError, choose


def test_an_unknown_name_lists_the_known_and_points_at_the_nearest():
    assert choose("block", "se", ["standard", "se"]) == "se"
    with pytest.raises(UserError) as error:
        choose("block", "standart", ["standard", "se"])
    assert str(error.value) == (
        "block 'standart' is unknown; choose one of standard, se. Did you mean 'standard'?"
    )


def test_a_notebook_shows_the_line_and_no_stack(capsys):
    shell = InteractiveShell.instance()
    shell.run_cell("from xnnlib.errors import choose\nchoose('block', 'x', ['standard', 'se'])")
    InteractiveShell.clear_instance()
    assert capsys.readouterr().out.strip() == "error: block 'x' is unknown; choose one of standard, se."
