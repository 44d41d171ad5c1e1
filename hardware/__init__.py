"""What is true of the devices: register maps as data. Imports nothing of ours."""
