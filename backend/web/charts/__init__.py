"""Charts as coordinates: each module turns figures into geometry that a template draws as SVG or as a table."""
