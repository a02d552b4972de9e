"""What users get from pip: the wheel, built as a release builds it, and a package that starts at once."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_WHEEL_BYTES = 3_000_000


def cpu_seconds(*arguments: str) -> float:
    """Least CPU time of three processes: a busy machine costs time by the clock, and little of this."""
    taken = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=ROOT, timeout=60)
        after = os.times()
        taken.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(taken)


@pytest.mark.slow
def test_wheel_holds_the_package_its_licence_and_no_tests(tmp_path: Path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("evoprune-*.whl")
    assert wheel.stat().st_size < MAX_WHEEL_BYTES
    names = zipfile.ZipFile(wheel).namelist()
    assert {
        "evoprune/py.typed",
        "evoprune/report/html/templates/page.html.j2",
        "evoprune/errors.py",
        "evoprune/recipes/lenet5-mnist.yaml",
    } <= set(names)
    weights = {f"evoprune/recipes/weights/{path.name}" for path in (ROOT / "src/evoprune/recipes/weights").iterdir()}
    assert weights
    assert weights <= set(names)
    assert sum(name.endswith(("licenses/LICENSE", "licenses/NOTICE")) for name in names) == 2
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"evoprune"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "limit"), [(("-c", "import evoprune"), 0.3), (("-m", "evoprune", "--help"), 0.5)]
)
def test_package_starts_at_once(arguments: tuple[str, ...], limit: float):
    assert cpu_seconds(*arguments) < limit
