"""What the documentation promises to list, it lists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def settings_in(*files: str) -> set[str]:
    """Names of settings read by the code: env.text("NAME"…), get("NAME"…), get.number("NAME"…)."""
    pattern = re.compile(r'\b(?:env|environment|get)(?:\.\w+)?\(\s*"([A-Z_]+)"')
    return {name for file in files for name in pattern.findall((ROOT / file).read_text())}


def documented() -> set[str]:
    rows = re.findall(r"^\| (`[^|]+`) \|", (ROOT / "README.md").read_text(), re.M)
    return {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}


def test_every_setting_is_documented_and_every_documented_one_exists():
    demo = [str(file.relative_to(ROOT)) for file in (ROOT / "webgui/demo").rglob("*.py")]
    read = settings_in("webgui/config/settings.py", "generator_worker/config.py", *demo)
    assert {"HOME", "DATABASE_URL", "WORKER_NAME"} <= read
    # PORT is the demo's, SECRET_KEY is read where keys are made.
    assert read | {"PORT", "SECRET_KEY"} == documented()


def test_links_in_the_documentation_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith(("http://", "https://", "mailto:")):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
