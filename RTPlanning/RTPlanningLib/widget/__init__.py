"""The panel of the RTPlanning module: a shell with one step of the workflow a section."""
