"""What the project does with public measurements: fits its engine profiles and scores them.

Developers' tools, not part of the package: `python -m validation.fit` writes engines/*.yaml,
`python -m validation.report` writes docs/VALIDATION.md. Both read the measurements in
`../shared/data`, which are not part of the project.
"""
