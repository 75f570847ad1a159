"""A subject of a report that no module of the program knows: the highest energy at each temperature."""
