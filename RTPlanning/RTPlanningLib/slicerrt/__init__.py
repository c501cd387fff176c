"""Our dose engines and our optimizer as plug-ins of SlicerRT's External Beam Planning.

Files named ``...DoseEngine.py`` and ``...PlanOptimizer.py`` are named as SlicerRT wants them, each with a class of its
name; they are imported only where SlicerRT is.
"""
