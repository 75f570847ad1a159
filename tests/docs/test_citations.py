"""Every page, figure and section that code, configurations and pages cite is there, and every file that pages cite."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = (".py", ".toml", ".md", ".sh", ".def", ".yml", ".html")
MADE = {"docs/reference/configuration.md", "docs/reference/store.md"}  # by docs/reference.py

PATH = re.compile(r"(?<![\w/.-])(docs/[\w./-]*\.(?:md|py|png|css))")
LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[\w-]+)?\)")
NUMBER = r"\d+(?!\.?\d)"
FOLDERS = "protmpi|hpc|analysis|bench|validation|tests|configs|slurm|containers"
FILE = re.compile(rf"(?<![\w/.-])((?:{FOLDERS})/(?!site\.sh|[\w/]*NAME)[\w./-]*\.(?:py|toml|sh|def|json))")
"""Files of the repository; users write slurm/site.sh, and NAME stands for a name."""
MODULE = re.compile(r"^::: ([\w.]+)$", re.M)
SECTIONS = rf"[\s#]+sections? {NUMBER}(?:(?:,| and| to)\s+{NUMBER})*"
CITED = re.compile(PATH.pattern + rf"`?{SECTIONS}")
LINKED = re.compile(LINK.pattern + SECTIONS)
LONGEST = 350


def tracked() -> list[Path]:
    """Text files of the repository, new ones included."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository here: which files are tracked is not known")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [Path(line) for line in listed.stdout.splitlines()]
    return [p for p in paths if (p.suffix in SOURCES or p.name == "Makefile") and (ROOT / p).is_file()]


def sections(page: Path) -> set[int]:
    """Numbers of the sections of a page: ## 3. Title."""
    return {int(number) for number in re.findall(r"^## (\d+)\. ", page.read_text("utf-8"), re.M)}


def broken(text: str, source: Path) -> Iterator[str]:
    """What `text` of the file `source` cites and is not there; paths in prose are those of the repository."""
    for name in PATH.findall(text):
        if name not in MADE and not (ROOT / name).exists():
            yield f"{source}: {name}"
    cited = [(ROOT / match[1], match) for match in CITED.finditer(text)]
    if source.suffix == ".md":
        folder = (ROOT / source).parent
        yield from (f"{source}: {name}" for name in FILE.findall(text) if not (ROOT / name).exists())
        for module in MODULE.findall(text):
            path = ROOT / module.replace(".", "/")
            if not path.with_suffix(".py").exists() and not (path / "__init__.py").exists():
                yield f"{source}: {module}"
        for target in LINK.findall(text):
            found = (folder / target).resolve()
            if not found.exists() and str(found.relative_to(ROOT.resolve())) not in MADE:
                yield f"{source}: {target}"
        cited += [(folder / match[1], match) for match in LINKED.finditer(text)]
    for page, match in cited:
        wanted = {int(n) for n in re.findall(r"\d+", match[0][match[0].rindex("section") :])}
        missing = wanted - sections(page) if page.is_file() else set()
        yield from (f"{source}: {page.name} section {number}" for number in sorted(missing))


def test_every_cited_page_and_section_is_there() -> None:
    here = Path(__file__).relative_to(ROOT)
    files = [path for path in tracked() if path != here]
    assert len(files) > 200
    found = [line for path in files for line in broken((ROOT / path).read_text("utf-8"), path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "source", "said"),
    [
        ('"""The step (docs/method/sphere.md section 2)."""', "a.py", []),
        ("docs/method/sphere.md sections 1 to 3 and docs/reference/store.md", "a.py", []),
        ("[sphere](sphere.md) section 3, [noise](noise.md#1-the-estimate-of-s2)", "docs/method/a.md", []),
        ('"""The step (docs/method/spheres.md)."""', "a.py", ["a.py: docs/method/spheres.md"]),
        ("# docs/method/sphere.md section 9", "Makefile", ["Makefile: sphere.md section 9"]),
        ("docs/method/sphere.md\nsections 3 and 12", "a.toml", ["a.toml: sphere.md section 12"]),
        ("[sphere](sphere.md) section 8", "docs/method/a.md", ["docs/method/a.md: sphere.md section 8"]),
        ("[sphere](sphere.md)", "docs/guide/a.md", ["docs/guide/a.md: sphere.md"]),
        ("`analysis/none.py`, `protmpi/run.py`", "docs/guide/a.md", ["docs/guide/a.md: analysis/none.py"]),
        ("::: protmpi.none\n\n::: protmpi.run\n", "docs/api/a.md", ["docs/api/a.md: protmpi.none"]),
        ("![figure](points/no.png)", "docs/validation/a.md", ["docs/validation/a.md: points/no.png"]),
    ],
)
def test_what_is_not_there_is_named(text: str, source: str, said: list[str]) -> None:
    assert list(broken(text, Path(source))) == said


def test_sections_are_numbered_in_order() -> None:
    """A section that is put in between would change what the others are cited for."""
    for page in (ROOT / "docs/method").glob("*.md"):
        numbers = [int(n) for n in re.findall(r"^## (\d+)\. ", page.read_text("utf-8"), re.M)]
        assert numbers == list(range(1, len(numbers) + 1)), page


def test_no_page_is_long() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert len(page.read_text("utf-8").splitlines()) <= LONGEST, page
