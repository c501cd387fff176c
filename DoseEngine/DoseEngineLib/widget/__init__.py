"""The panel of the Dose Engine module, and what all panels share."""
