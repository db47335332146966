"""The documentation agrees with the code: settings, commands, versions, links and the files that pages name."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
COMMANDS = (ROOT / "docs" / "commands.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
_NOT_OURS = frozenset({".venv", "var", "node_modules", ".git", ".pytest_cache", ".hypothesis"})
_SOURCES = (".md", ".py", ".yaml", ".toml", ".html")


def source_files(*suffixes: str) -> list[Path]:
    found = (
        path
        for path in ROOT.rglob("*")
        if path.suffix in suffixes and not _NOT_OURS & set(path.relative_to(ROOT).parts) and path.is_file()
    )
    return sorted(found)


PAGES = source_files(".md")


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


# --- Settings ----------------------------------------------------------------------------------------------------


def settings_read() -> dict[str, ast.expr | None]:
    """The variables that the panel reads from the environment, each with the expression of its default."""
    found: dict[str, ast.expr | None] = {}
    for node in ast.walk(ast.parse((ROOT / "controlpanel" / "settings.py").read_text())):
        if not isinstance(node, ast.Call):
            continue
        is_method = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
        if is_method and node.func.value.id == "env":  # type: ignore[attr-defined]
            names = node.args[:1]
        elif node.args and isinstance(node.args[0], ast.Name) and node.args[0].id == "env":
            names = node.args[1:2]
        else:
            continue
        default = next((keyword.value for keyword in node.keywords if keyword.arg == "default"), None)
        for name in names:
            assert isinstance(name, ast.Constant)
            found[str(name.value)] = found.get(str(name.value)) or default
    for path in (ROOT / "provisioning").rglob("*.py"):
        for name in re.findall(r'os\.environ(?:\.get\(|\[)"([A-Z_]+)"', path.read_text()):
            found.setdefault(name, None)
    found.pop("DJANGO_SETTINGS_MODULE", None)
    return found


def settings_described() -> dict[str, str]:
    """The variables in the tables of docs/settings.md, each with what its column "default" says."""
    return dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", SETTINGS, re.MULTILINE))


def test_settings_page_describes_every_setting_and_no_other():
    assert settings_described().keys() == settings_read().keys()


@pytest.mark.parametrize("name", sorted(settings_read()))
def test_settings_page_has_the_default_of_the_code(name):
    default = settings_read()[name]
    said = settings_described()[name]
    if not isinstance(default, ast.Constant) or default.value == "":
        return  # computed, or none: the page says so in words
    match default.value:
        case bool():
            wanted = str(default.value).lower()
        case int() | float():
            wanted = f"{default.value:g}" if default.value < 10_000 else str(default.value)
        case _:
            wanted = str(default.value)
    assert said == f"`{wanted}`"


# --- Commands ----------------------------------------------------------------------------------------------------

OUR_COMMANDS = sorted(name for name, app in get_commands().items() if app == "provisioning")


def options_of(command: BaseCommand) -> set[str]:
    return {
        option
        for action in command.create_parser("manage.py", "command")._actions
        for option in action.option_strings
        if option.startswith("--")
    }


COMMON_OPTIONS = options_of(BaseCommand()) | {"--skip-checks"}


def sections_of_commands() -> dict[str, str]:
    parts = re.split(r"^### `(\w+)`$", COMMANDS, flags=re.MULTILINE)[1:]
    return {
        name: re.split(r"^## ", body, flags=re.MULTILINE)[0] for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def test_commands_page_has_every_command_and_no_other():
    described = sections_of_commands().keys()
    assert set(OUR_COMMANDS) <= described
    assert described <= get_commands().keys()


@pytest.mark.parametrize("name", OUR_COMMANDS)
def test_commands_page_has_every_option_and_no_other(name):
    options = options_of(load_command_class("provisioning", name)) - COMMON_OPTIONS
    section = sections_of_commands()[name]
    synopsis = next(line for line in section.splitlines() if line.startswith(f"`manage.py {name}"))
    assert set(re.findall(r"--[a-z][a-z-]+", synopsis)) == options
    assert set(re.findall(r"`(--[a-z][a-z-]+)", section)) <= options


# --- Links and files ---------------------------------------------------------------------------------------------


def anchors_of(page: Path) -> set[str]:
    """The anchors that a page's headings get."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_of(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            yield target


@pytest.mark.parametrize("document", PAGES, ids=page_id)
def test_links_lead_to_pages_and_headings_that_exist(document):
    for link in links_of(document):
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def expand(name: str) -> Iterator[str]:
    """`a/{b,c}.py` as a/b.py and a/c.py."""
    before, brace, rest = name.partition("{")
    if not brace:
        yield name
        return
    choices, _, after = rest.partition("}")
    for choice in choices.split(","):
        yield from expand(f"{before}{choice.strip()}{after}")


def files_named_in(page: Path) -> Iterator[str]:
    """The paths in backticks that begin at a folder of the repository."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - _NOT_OURS
    for quoted in re.findall(r"`([\w.-]+/[\w./{}, -]*)`", page.read_text()):
        if quoted.split("/")[0] in folders:
            yield from expand(quoted)


@pytest.mark.parametrize("document", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=page_id)
def test_pages_name_files_that_exist(document):
    assert [name for name in files_named_in(document) if not (ROOT / name).exists()] == []


def test_code_names_pages_that_exist():
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in [*source_files(*_SOURCES), ROOT / "Makefile"]
        for name in re.findall(r"(?<![\w/])docs/(?:[\w.-]+/)*[\w-]+\.md\b", path.read_text())
        if not (ROOT / name).exists() and not (path.parent / name).exists()
    ]
    assert missing == []


# --- Versions ----------------------------------------------------------------------------------------------------


def test_every_file_has_the_version_of_the_changelog():
    version = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", CHANGELOG, re.MULTILINE)[0]
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == version
    files = [*source_files(".md", ".yaml"), ROOT / "Makefile", ROOT / "deploy" / "Dockerfile"]
    tags = {tag for path in files for tag in re.findall(r"controlpanel:(\d+\.\d+\.\d+)\b", path.read_text())}
    tags |= set(re.findall(r"newTag: (\S+)", (ROOT / "deploy" / "example" / "kustomization.yaml").read_text()))
    assert tags == {version}
