"""The mutants of the drill still fit the code, and a run that merely ends badly catches none."""

import subprocess

import pytest

from tests.faults.drill.mutants import ROOT, findings, patches

PROMISES = {
    "ack-before-the-delivery-report",
    "commit-before-the-204",
    "no-applied-offset-in-the-state",
    "no-fence-for-a-zombie",
}


def test_each_broken_promise_has_its_mutant():
    assert {patch.stem for patch in patches()} == PROMISES


@pytest.mark.parametrize("patch", patches(), ids=lambda patch: patch.stem)
def test_a_mutant_still_fits_the_code(patch):
    done = subprocess.run(
        ["git", "apply", "--check", str(patch)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_failed_row_without_a_finding_catches_no_mutant():
    row = {"name": "a", "lost": 0, "doubled": 0, "wrong": 0, "unequal": 0, "failures": ["it did not bite"]}
    assert findings([row]) == ""
    assert findings([row | {"lost": 3, "unequal": 1}]) == "a: 3 lost, 1 unequal"
