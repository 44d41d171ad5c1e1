"""Boxes as parametric solids in OpenSCAD, and `check`, which measures what comes out."""
