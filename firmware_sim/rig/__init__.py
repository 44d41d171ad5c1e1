"""The training rig: a page on which an installer sees simulated controllers and puts hands on them."""
