"""How far to trust the dose: engines against independent Monte Carlo, machines against measured beams."""
