"""The gate: a staged slice against its contract.

`expectations` says in SQL what each expectation asks, `plan` makes one scan and one split of a contract's rules,
`judge` runs them over a stage, and `gx` asks Great Expectations itself for whatever the plan does not cover.
"""
