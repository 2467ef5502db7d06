"""Sweeps: many runs from one YAML file, divided among any number of processes, on top of optuna.

``sweep_file`` reads the file, ``plan`` says which runs it asks for, ``ledger`` keeps account of them in an
optuna storage, ``child`` does one run in a process of its own, ``work`` takes one run after another,
``screen`` and ``outcome`` tell what came of it.
"""
