"""Guided exercises: what a learner reads and does, step by step, and how the plan made is checked."""
