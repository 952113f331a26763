"""The files that type checkers read hold all code of the pages, at its lines; messages name the page."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.project.snippets import PROJECT_ROOT, code_of, files_of, main, pages, write_files

PAGE = """# Title

```console
$ breedclf train dogImages
```

```python
import os

print(os.name)
```

```{code-block} python
print(1)
```

1. A list:

   ```text
   no code
   ```
"""


def test_a_page_is_its_code_at_the_same_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    lines = code_of(page).splitlines()
    assert {number: line for number, line in enumerate(lines, 1) if line} == {
        8: "import os",
        10: "print(os.name)",
        14: "print(1)",
    }


def test_a_block_that_names_its_file_is_that_file(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\n# mine.py\nx = 1\n```\n\n```python\nfrom mine import x\n```\n", encoding="utf-8")
    assert files_of(page) == {"mine.py": "\n# mine.py\nx = 1\n\n\n\n\n\n"}
    assert code_of(page).split() == ["from", "mine", "import", "x"]


@pytest.mark.parametrize("language", ["", "Python", "python3", "pycon", "{code-block} Python", "python title=a.py"])
def test_a_block_that_could_be_python_isnt_skipped(language: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n```{language}\nx = 1\n```\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"page.md:3: write ```python, or name another language than {language!r}"):
        code_of(page)


def test_every_page_with_code_has_a_file(tmp_path: Path) -> None:
    written = set(write_files(tmp_path).values())
    texts = {page.relative_to(PROJECT_ROOT).as_posix(): page.read_text(encoding="utf-8") for page in pages()}
    with_code = {name for name, text in texts.items() if not name.endswith(".md") or "```py" in text}
    assert written >= with_code
    assert {"README.md", "docs/how-to/tuning.md", "docs/tutorials/dog_breeds.ipynb"} < written
    code = "\n".join(file.read_text(encoding="utf-8") for file in tmp_path.glob("*.py"))
    blocks = [block for text in texts.values() for block in re.findall(r"^```py(?:thon)?\n(.+)", text, re.MULTILINE)]
    assert len(blocks) > 40
    assert [block for block in blocks if block not in code] == []


def test_the_checkers_status_and_messages_are_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    checker = "import sys; print(*(name + ':7: wrong' for name in sys.argv[1:]), sep='\\n'); sys.exit(3)"
    assert main(sys.executable, "-c", checker) == 3
    shown = capfd.readouterr().out.splitlines()
    assert "docs/how-to/tuning.md:7: wrong" in shown
    assert "examples/01_train_and_predict.py:7: wrong" in shown
