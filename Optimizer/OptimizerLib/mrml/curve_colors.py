"""Colours of the curves of a search, distinct on white and on black."""

# the total stands out
TOTAL_COLOR = (0.85, 0.15, 0.15)
CURVE_COLORS = (
    (0.12, 0.47, 0.71),
    (0.17, 0.63, 0.17),
    (1.00, 0.50, 0.05),
    (0.58, 0.40, 0.74),
    (0.55, 0.34, 0.29),
    (0.89, 0.47, 0.76),
    (0.50, 0.50, 0.50),
    (0.74, 0.74, 0.13),
    (0.09, 0.75, 0.81),
)
