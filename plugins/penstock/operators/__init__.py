"""Thin operators: arguments in, core called, a small summary out."""
