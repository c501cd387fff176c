"""The smallest plan file: one field on the water tank."""

PLAN = """
name = "One field"
[prescription]
dose_Gy = 2.0
fractions = 1
target = "PTV"
[[beam]]
name = "AP"
gantry = 0
field = [100, 100]
[dose]
spacing_mm = 10
"""
