"""docs/VALIDATION.md says what the profiles and the measurements say."""

from pathlib import Path

import pytest

from validation.datasets.tables import DATA

PAGE = Path(__file__).parents[2] / "docs" / "VALIDATION.md"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no measurements in {DATA}")


@pytest.mark.slow
def test_the_page_is_what_the_command_writes():
    """`python -m validation.report` would change nothing."""
    from validation.report import page

    assert page() == PAGE.read_text(encoding="utf-8")
