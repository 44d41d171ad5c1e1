"""Harnesses for the electrician: YAML that WireViz draws, checked against schematic, parts list and feed."""
