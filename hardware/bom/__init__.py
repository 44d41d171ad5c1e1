"""Parts to buy: CSV files, checked against the schematic, against derating, and among themselves."""
